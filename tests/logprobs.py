"""Log-probabilities of completions as tests want them: by a network's own passes, in one call."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from sparkcli.models.head import chosen_logprobs
from sparkcli.models.prefix import Completions, naive_hidden, network_of, pad_right, shared_hidden, spread
from sparkcli.models.sight import Placed, text

Prompts = Sequence[Placed | Sequence[int]]
"""Token ids alone are a prompt without images."""


def completion_logprobs(model: Any, prompts_P: Prompts, completions_by_group: Completions,
                        temperature: float | Tensor = 1.0) -> tuple[Tensor, Tensor]:
    """Log-probabilities of completions under softmax(logits / temperature), each group's prompt computed once.

    Args:
        temperature: above 0; one for all rows, or a tensor `[B]`. The others are those of `shared_hidden`.

    Returns:
        `(logprobs_BT, mask_BT)`: float32 with gradients, 0 where the mask is False; the groups' rows in order.
    """
    hidden_KD = shared_hidden(model, _placed(prompts_P), completions_by_group)
    return _logprobs(network_of(model), hidden_KD, completions_by_group, temperature)


def naive_logprobs(model: Any, prompts_P: Prompts, completions_by_group: Completions,
                   temperature: float | Tensor = 1.0) -> tuple[Tensor, Tensor]:
    """The same as `completion_logprobs` by a plain forward pass over each whole sequence: N times the prompt's work."""
    hidden_KD = naive_hidden(model, _placed(prompts_P), completions_by_group)
    return _logprobs(network_of(model), hidden_KD, completions_by_group, temperature)


def _placed(prompts_P: Prompts) -> list[Placed]:
    return [prompt if isinstance(prompt, Placed) else text(prompt) for prompt in prompts_P]


def _logprobs(network: PreTrainedModel, hidden_KD: Tensor, completions_by_group: Completions,
              temperature: float | Tensor) -> tuple[Tensor, Tensor]:
    completions_B = [row for group in completions_by_group for row in group]
    ids_BT, mask_BT = pad_right(completions_B, network.device)
    if isinstance(temperature, Tensor):
        temperature = temperature.to(network.device)[:, None].expand(mask_BT.shape)[mask_BT]
    logprobs_K, _ = chosen_logprobs(network, hidden_KD, ids_BT[mask_BT], temperature)
    return spread(logprobs_K, [len(row) for row in completions_B]), mask_BT
