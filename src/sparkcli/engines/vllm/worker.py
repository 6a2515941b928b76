"""Imported by vLLM in its workers, by name, before it makes a model: says which weights it has, and keeps them one.

On CPUs vLLM multiplies by packed copies of weights. Where weights are reloaded, the copy of an output head that is
tied to the embeddings stays as it was, since nothing is loaded under the head's own name, and what is sampled then is
neither the old nor the new policy (seen in 0.32). So embeddings and heads are not packed here.
"""

from typing import Any

import torch
from vllm.model_executor.layers.vocab_parallel_embedding import UnquantizedEmbeddingMethod
from vllm.platforms import current_platform


class Worker:
    """What is added to vLLM's worker."""

    model_config: Any

    def weights_folder(self) -> str:
        """Where the weights are from: the model's folder, or the one that they were last reloaded from."""
        return str(self.model_config.model)


def _unpacked(method: UnquantizedEmbeddingMethod, layer: Any) -> None:
    layer.cpu_linear = torch.nn.functional.linear


if current_platform.is_cpu():
    UnquantizedEmbeddingMethod.process_weights_after_loading = _unpacked
