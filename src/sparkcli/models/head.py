"""The vocabulary head: log-probabilities of chosen tokens and entropies, without the logits of all tokens at once.

Tokens [K] times vocabulary [V] is the largest tensor of a training step where it is whole. Here the rows go through
the head in chunks [C] of a few megabytes, which also stay in the processor's cache. A row's numbers depend on its own
hidden state alone. So where the head itself is frozen, a chunk's gradient with respect to its hidden states is computed
at once, while its logits are there, and backward only scales it. Where the head is trained its gradient needs factors
that only backward knows, and the chunk's logits are computed again there.

`torch.nn.functional.linear_cross_entropy` computes them again in both cases, has no entropy, and takes neither a
temperature for each row nor the scalings and caps that some families put on logits.

Axes: K rows, C rows of a chunk, D hidden, V vocabulary.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

CHUNK_BYTES = 16 * 2**20
"""Of a chunk's logits in float32."""

Entropy = Literal["none", "value", "gradient"]
"""Not computed; computed as a number; or with a gradient too."""

Chunk = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor | None]]
"""`(hidden_CD, ids_C, temperature_C) -> (logprobs_C, entropy_C)`."""


def logits_of(network: PreTrainedModel, hidden_KD: Tensor) -> Tensor:
    """The vocabulary head in float32: `[..., D]` → `[..., V]`, with the scalings some families put on it."""
    logits_KV = network.get_output_embeddings()(hidden_KD).float()
    config = network.config.get_text_config()
    if scale := getattr(config, "logit_scale", None):  # Cohere
        logits_KV = logits_KV * scale
    if scaling := getattr(config, "logits_scaling", None):  # Granite
        logits_KV = logits_KV / scaling
    if cap := getattr(config, "final_logit_softcapping", None):  # Gemma
        logits_KV = torch.tanh(logits_KV / cap) * cap
    return logits_KV


def chosen_logprobs(network: PreTrainedModel, hidden_KD: Tensor, ids_K: Tensor, temperature: float | Tensor = 1.0, *,
                    entropy: Entropy = "none", chunk_bytes: int = CHUNK_BYTES) -> tuple[Tensor, Tensor | None]:
    """Log-probabilities of tokens under softmax(logits / temperature), and the entropies of these distributions.

    Args:
        network: whose head it is; the head may carry an adapter or be tied to the embeddings.
        hidden_KD: the network's output at the place before each token.
        ids_K: the tokens.
        temperature: above 0; one for all rows, or a tensor `[K]`.
        entropy: "none", "value", or "gradient" where it is part of a loss.
        chunk_bytes: of logits that exist at a time; the numbers do not depend on it.

    Returns:
        `(logprobs_K, entropy_K)`, float32, in nats; entropy is None if it is not asked for.
    """
    temperature_K = torch.as_tensor(temperature, dtype=torch.float32, device=hidden_KD.device).expand(len(ids_K))
    head = network.get_output_embeddings()
    trained = any(parameter.requires_grad for parameter in head.parameters())
    run: Chunk = partial(_scores, network, entropy)
    if torch.is_grad_enabled() and trained:
        run = partial(checkpoint, run, use_reentrant=False)
    elif torch.is_grad_enabled() and hidden_KD.requires_grad:
        run = partial(FrozenHead.apply, run, entropy)
    rows = max(1, chunk_bytes // (4 * _vocabulary(network)))
    chunks = zip(hidden_KD.split(rows), ids_K.split(rows), temperature_K.split(rows), strict=True)
    logprobs, entropies = zip(*(run(*chunk) for chunk in chunks), strict=True)
    return torch.cat(logprobs), None if entropy == "none" else torch.cat(entropies)


def _vocabulary(network: PreTrainedModel) -> int:
    return network.config.get_text_config().vocab_size


def _scores(network: PreTrainedModel, entropy: Entropy, hidden_CD: Tensor, ids_C: Tensor,
            temperature_C: Tensor) -> tuple[Tensor, Tensor | None]:
    """A chunk, as plain operations."""
    logprobs_CV = (logits_of(network, hidden_CD) / temperature_C[:, None]).log_softmax(-1)
    chosen_C = logprobs_CV.gather(1, ids_C[:, None])[:, 0]
    if entropy == "none":
        return chosen_C, None
    with torch.set_grad_enabled(torch.is_grad_enabled() and entropy == "gradient"):
        return chosen_C, -(logprobs_CV.exp() * logprobs_CV).sum(-1)


class FrozenHead(torch.autograd.Function):
    """A chunk whose gradient with respect to the hidden states is computed on the way forward."""

    @staticmethod
    def forward(ctx: Any, run: Chunk, entropy: Entropy, hidden_CD: Tensor, ids_C: Tensor,
                temperature_C: Tensor) -> tuple[Tensor, Tensor | None]:
        """Saves `[C, D]` for each result that has a gradient."""
        hidden_CD = hidden_CD.detach().requires_grad_()
        with torch.enable_grad():
            results = run(hidden_CD, ids_C, temperature_C)
        roots = [result for result in results if result is not None and result.requires_grad]
        ctx.save_for_backward(*(torch.autograd.grad(root, hidden_CD, torch.ones_like(root), retain_graph=True)[0]
                                for root in roots))
        logprobs_C, entropy_C = results[0].detach(), None if results[1] is None else results[1].detach()
        if entropy == "value":
            ctx.mark_non_differentiable(entropy_C)
        return logprobs_C, entropy_C

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        """Each row's saved gradient times that of its result."""
        terms = [saved_CD * gradient_C[:, None].to(saved_CD.dtype) for saved_CD, gradient_C
                 in zip(ctx.saved_tensors, gradients, strict=False) if gradient_C is not None]
        return None, None, sum(terms), None, None
