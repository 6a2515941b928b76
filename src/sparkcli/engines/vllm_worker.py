"""Imported by vLLM in its workers on CPUs, by name, before it makes a model: an output head that is always up to date.

There vLLM multiplies by packed copies of weights. Where weights are reloaded, the copy of a head that is tied to the
embeddings stays as it was, since nothing is loaded under the head's own name, and what is sampled then is neither the
old nor the new policy (seen in 0.32). So embeddings and heads are not packed here.
"""

from typing import Any

import torch
from vllm.model_executor.layers.vocab_parallel_embedding import UnquantizedEmbeddingMethod


class Worker:
    """Adds nothing to vLLM's worker: it is the import that counts."""


def _unpacked(method: UnquantizedEmbeddingMethod, layer: Any) -> None:
    layer.cpu_linear = torch.nn.functional.linear


UnquantizedEmbeddingMethod.process_weights_after_loading = _unpacked
