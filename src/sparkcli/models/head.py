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

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge
from torch.nn import Module, Parameter
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.utils.generic import ModelOutput

from sparkcli.errors import UsageError
from sparkcli.models.network import body_of

CHUNK_BYTES = {"cpu": 24 * 2**20}
"""Of a chunk's logits in float32, by device. On a CPU, at 32k × 384, a third less takes a tenth more time and a trained
head a fifth more; a third more saves a twentieth."""

ACCELERATOR_CHUNK_BYTES = 256 * 2**20
"""Elsewhere; not measured."""

FEWEST_ROWS = 128
"""Of a chunk, however large the vocabulary: a product of fewer rows is bound by reading the head's weights."""

Entropy = Literal["none", "value", "gradient"]
"""Not computed; computed as a number; or with a gradient too."""


def logits_of(network: PreTrainedModel, hidden: Tensor) -> Tensor:
    """The vocabulary head in float32: `[..., D]` → `[..., V]`, with all that the network does after its body.

    Families scale logits, cap them, or put layers of their own before the head. So nothing of it is written here: the
    network's own forward pass is run, with its body's output given.

    Raises:
        UsageError: the network does not compute its logits from its body's output.
    """
    hidden_1KD = hidden.reshape(1, -1, hidden.shape[-1])
    ids_1K = torch.zeros(hidden_1KD.shape[:2], dtype=torch.long, device=hidden.device)
    with _given(network, hidden_1KD) as given:
        logits_1KV: Tensor = network(input_ids=ids_1K, use_cache=False, return_dict=True).logits
    if not given:
        raise UsageError(f"{network.config.model_type}: does not compute its logits from what its body puts out")
    return logits_1KV.reshape(*hidden.shape[:-1], -1).float()


def head_parameters(network: PreTrainedModel) -> list[Parameter]:
    """The weights between the body's output and the logits: the head's, and those of layers that some families add."""
    bodies = _bodies(network)
    modules = [network.get_output_embeddings(), *(child for child in network.children() if child not in bodies)]
    return [parameter for module in modules if module is not None for parameter in module.parameters()]


def _bodies(network: PreTrainedModel) -> list[Module]:
    """What puts out hidden states: the body, and the decoder in it, which some heads ask directly."""
    body, decoder = body_of(network), network.get_decoder()
    return [body, decoder] if decoder is not body and decoder in set(body.modules()) else [body]


@contextlib.contextmanager
def _given(network: PreTrainedModel, hidden: Tensor) -> Iterator[list[Tensor]]:
    """Within it the body puts out `hidden`, whatever it is given; yields what was asked for so far."""
    asked: list[Tensor] = []

    def forward(*_: Any, **__: Any) -> _Body:
        asked.append(hidden)
        return _Body(last_hidden_state=hidden)

    with contextlib.ExitStack() as stack:
        for body in _bodies(network):
            before = {name: value for name, value in vars(body).items() if name == "forward"}  # accelerate sets its own
            body.forward = forward
            stack.callback(vars(body).update, before)
            stack.callback(vars(body).pop, "forward")
        yield asked


@dataclass
class _Body(ModelOutput):
    """What a body puts out, and None for all that it might put out beside its hidden states."""

    last_hidden_state: Tensor | None = None

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


def chosen_logprobs(network: PreTrainedModel, hidden_KD: Tensor, ids_K: Tensor, temperature: float | Tensor = 1.0, *,
                    entropy: Entropy = "none", rows: int | None = None) -> tuple[Tensor, Tensor | None]:
    """Log-probabilities of tokens under softmax(logits / temperature), and the entropies of these distributions.

    Args:
        network: whose head it is; the head may carry an adapter or be tied to the embeddings.
        hidden_KD: the network's output at the place before each token.
        ids_K: the tokens.
        temperature: above 0; one for all rows, or a tensor `[K]`.
        entropy: "none", "value", or "gradient" where it is part of a loss.
        rows: of a chunk, which the numbers do not depend on; None: by the device and the vocabulary.

    Returns:
        `(logprobs_K, entropy_K)`, float32, in nats; entropy is None if it is not asked for.
    """
    trained = any(parameter.requires_grad for parameter in head_parameters(network))
    score = partial(_scores, network, entropy)
    if torch.is_grad_enabled() and trained:
        score = partial(checkpoint, score, use_reentrant=False)
    elif torch.is_grad_enabled() and hidden_KD.requires_grad:
        score = partial(FrozenHead.apply, network, entropy)
    rows = rows or chunk_rows(network.config.get_text_config().vocab_size, hidden_KD.device)
    divisors = temperature.split(rows) if isinstance(temperature, Tensor) else itertools.repeat(temperature)
    logprobs, entropies = zip(*(score(hidden_CD, ids_C, divisor) for hidden_CD, ids_C, divisor
                                in zip(hidden_KD.split(rows), ids_K.split(rows), divisors, strict=False)), strict=True)
    return torch.cat(logprobs), None if entropy == "none" else torch.cat(entropies)


def chunk_rows(vocabulary: int, device: torch.device) -> int:
    """Rows that go through the head together."""
    return max(FEWEST_ROWS, CHUNK_BYTES.get(device.type, ACCELERATOR_CHUNK_BYTES) // (4 * vocabulary))


def _scores(network: PreTrainedModel, entropy: Entropy, hidden_CD: Tensor, ids_C: Tensor,
            temperature: float | Tensor) -> tuple[Tensor, Tensor | None]:
    """A chunk, as plain operations."""
    logprobs_CV = over(logits_of(network, hidden_CD), temperature).log_softmax(-1)
    chosen_C = logprobs_CV.gather(1, ids_C[:, None])[:, 0]
    if entropy == "none":
        return chosen_C, None
    with torch.set_grad_enabled(torch.is_grad_enabled() and entropy == "gradient"):
        return chosen_C, -torch.linalg.vecdot(logprobs_CV.exp(), logprobs_CV)


def over(values: Tensor, temperature: float | Tensor) -> Tensor:
    """Rows divided by their temperature; 1 costs nothing."""
    if isinstance(temperature, Tensor):
        return values / temperature[:, None]
    return values if temperature == 1 else values / temperature


class FrozenHead(torch.autograd.Function):
    """A chunk whose gradient with respect to its hidden states is computed on the way forward.

    With p the distribution, e_x the chosen token's unit vector, τ the temperature and H the entropy, the gradients with
    respect to the logits are (e_x − p) / τ of log p(x), and −p (log p + H) / τ of H. Both overwrite what they are made
    of, so that a chunk has two tensors of the logits' size and not five.
    """

    @staticmethod
    def forward(ctx: Any, network: PreTrainedModel, entropy: Entropy, hidden_CD: Tensor, ids_C: Tensor,
                temperature: float | Tensor) -> tuple[Tensor, Tensor | None]:
        """Saves `[C, D]` for each result that has a gradient."""
        hidden_CD = hidden_CD.detach().requires_grad_()
        with torch.enable_grad():
            logits_CV = logits_of(network, hidden_CD)
        edge = get_gradient_edge(logits_CV)  # stands for the logits in backward, so that they can go
        logprobs_CV = over(logits_CV.detach(), temperature).log_softmax(-1)
        del logits_CV
        chosen_C = logprobs_CV.gather(1, ids_C[:, None])[:, 0]
        probs_CV = logprobs_CV.exp()
        entropy_C = None if entropy == "none" else -torch.linalg.vecdot(probs_CV, logprobs_CV)
        negated: list[Tensor] = []
        if entropy == "gradient":
            assert entropy_C is not None
            logprobs_CV.add_(entropy_C[:, None]).mul_(probs_CV)
            negated += torch.autograd.grad(edge, hidden_CD, logprobs_CV, retain_graph=True)
        probs_CV.scatter_add_(1, ids_C[:, None], probs_CV.new_full((len(ids_C), 1), -1))
        negated += torch.autograd.grad(edge, hidden_CD, probs_CV)
        ctx.save_for_backward(*(over(-gradient_CD, temperature).to(hidden_CD.dtype) for gradient_CD in negated[::-1]))
        if entropy == "value":
            ctx.mark_non_differentiable(entropy_C)
        return chosen_C, entropy_C

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        """Each row's saved gradients times those of its results."""
        terms = [saved_CD * gradient_C[:, None].to(saved_CD.dtype) for saved_CD, gradient_C
                 in zip(ctx.saved_tensors, gradients, strict=False)]
        return None, None, sum(terms), None, None
