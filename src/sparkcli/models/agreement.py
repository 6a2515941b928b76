"""Whether what is computed here is what the network itself computes, compared on a few tokens.

Sampling and training run a network's body in ways of their own: prompts shared, rows packed, padded, or with caches
that are not transformers'. Which networks such a way is right for depends on their code, not on their names; so it is
tried. What the network itself computes is its plain forward pass over each sequence alone, without padding or cache.

Axes: K tokens of completions, T tokens of a sequence, V vocabulary.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sparkcli.models.head import chosen_logprobs
from sparkcli.models.prefix import Completions, Prompts
from sparkcli.models.sight import Placed, text

TOLERANCE = {torch.float32: 1e-3}
"""Of a log-probability, by the network's dtype; rounding is a hundredth of it."""

MEAN_TOLERANCE_IN_HALF = 0.2
"""In 16 bits, on average over the tokens: in bfloat16 SmolLM2-135M's numbers stray by 0.4 at single tokens and by 0.06
on average, and what is computed wrongly strays by more than 0.5."""

HiddenStates = Callable[[PreTrainedModel, Prompts, Completions], Tensor]
"""A way to run a network: the output `[K, D]` of its body before each token of completions."""


def probe(network: PreTrainedModel) -> tuple[list[Placed], list[list[list[int]]]]:
    """Prompts, and two completions of each, of unequal lengths and of tokens that mean nothing special."""
    vocabulary = network.config.get_text_config().vocab_size
    special = getattr(network.config, "image_token_id", None)
    ids = [token for token in range(vocabulary // 2, vocabulary // 2 + 19) if token != special]
    return [text(ids[:3]), text(ids[3:9])], [[ids[9:12], ids[12:13]], [ids[13:14], ids[14:18]]]


@torch.no_grad()
def own_logprobs(network: PreTrainedModel, prompts: Prompts, completions_by_group: Completions,
                 temperature: float = 1.0) -> Tensor:
    """Log-probabilities of completions of prompts without images, as the network itself computes them: `[K]`, float32.

    Args:
        temperature: above 0.
    """
    found = []
    for prompt, completions in zip(prompts, completions_by_group, strict=True):
        for completion in completions:
            ids_1T = torch.tensor([[*prompt.token_ids, *completion]], device=network.device)
            logits_TV = network(input_ids=ids_1T, use_cache=False).logits[0, -len(completion) - 1:-1].float()
            logprobs_TV = (logits_TV / temperature).log_softmax(1)
            found.append(logprobs_TV.gather(1, ids_1T[0, -len(completion):, None])[:, 0])
    return torch.cat(found)


@torch.no_grad()
def agrees(network: PreTrainedModel, run: HiddenStates) -> bool:
    """Whether a way to run the network gives the log-probabilities that the network itself does."""
    prompts, completions = probe(network)
    ids_K = torch.tensor([token for group in completions for row in group for token in row], device=network.device)
    found_K, _ = chosen_logprobs(network, run(network, prompts, completions), ids_K)
    return are_close(network, found_K, own_logprobs(network, prompts, completions))


def are_close(network: PreTrainedModel, found_K: Tensor, expected_K: Tensor) -> bool:
    """Whether log-probabilities are equal but for the rounding of the network's dtype. What is no number on both sides
    is equal: broken weights are told of where they are used.
    """
    distance_K = (found_K - expected_K).abs().masked_fill(found_K.isnan() & expected_K.isnan(), 0.0)
    if network.dtype in TOLERANCE:
        return bool(distance_K.max() <= TOLERANCE[network.dtype])
    return bool(distance_K.mean() <= MEAN_TOLERANCE_IN_HALF)
