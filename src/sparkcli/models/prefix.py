"""A group's prompt, computed once.

The N samples of a prompt share it. The prompt runs through the network once (`prefill`, left-padded); its keys and
values are repeated to the rows of the samples (`expand`); completions run on top, right-padded, with explicit positions
and mask. The first token's distribution comes from the prompt's last hidden state. Sampling and training both do it,
training with gradients into the prompt: the result is that of the plain forward pass over each whole sequence.

Axes: P prompts, B rows (samples), T tokens, S tokens before and including T, D hidden, V vocabulary, K packed tokens.
Limits: attention caches only (no sliding windows shorter than the sequence, no recurrent state); text positions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from sparkcli.errors import UsageError

Prompts = Sequence[Sequence[int]]
"""Token ids of each prompt."""

Completions = Sequence[Sequence[Sequence[int]]]
"""For each prompt the token ids of its samples."""


@dataclass(frozen=True)
class Prefix:
    """Prompts that went through the network: one row a prompt, or after `expand` one row a sample."""

    cache: DynamicCache
    mask_BS: Tensor
    """1 at the prompt's tokens, 0 at the padding on their left."""
    lengths_B: Tensor
    """Tokens of each prompt: the position of the first token after it."""
    last_hidden_BD: Tensor
    """The network's output at each prompt's last token."""


def network_of(model: Any) -> PreTrainedModel:
    """The Hugging Face model inside a PEFT wrapper (its LoRA layers stay active), or the model itself."""
    network: PreTrainedModel = model.get_base_model() if hasattr(model, "get_base_model") else model
    return network


def pad_left(prompts_P: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Prompts as `(input_ids_PT, mask_PT)`, padded on the left with token 0 under mask 0."""
    longest = max(len(prompt) for prompt in prompts_P)
    rows = [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts_P]
    ids_PT = torch.tensor(rows, device=device)
    lengths_P = torch.tensor([len(prompt) for prompt in prompts_P], device=device)
    return ids_PT, (torch.arange(longest, device=device) >= longest - lengths_P[:, None]).long()


def pad_right(rows_B: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Completions as `(ids_BT, mask_BT)`, padded on the right with token 0 under mask False."""
    longest = max((len(row) for row in rows_B), default=0)
    ids_BT = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows_B], dtype=torch.long, device=device)
    lengths_B = torch.tensor([len(row) for row in rows_B], device=device)
    return ids_BT, torch.arange(longest, device=device) < lengths_B[:, None]


def prefill(model: Any, input_ids_PT: Tensor, attention_mask_PT: Tensor) -> Prefix:
    """Runs left-padded prompts once. Gradients flow if they are enabled.

    Raises:
        UsageError: the model keeps something else than keys and values of all tokens.
    """
    network = network_of(model)
    cache = new_cache(network)
    lengths_P = attention_mask_PT.sum(1)
    positions_PT = (attention_mask_PT.cumsum(1) - 1).clamp(min=0)
    mask_PT = None if bool(attention_mask_PT.all()) else attention_mask_PT
    hidden_PTD = network.base_model(input_ids=input_ids_PT, attention_mask=mask_PT, position_ids=positions_PT,
                                    past_key_values=cache, use_cache=True).last_hidden_state
    return Prefix(cache, attention_mask_PT, lengths_P, hidden_PTD[:, -1])


def new_cache(network: PreTrainedModel) -> DynamicCache:
    """An empty cache for `network`, one plain layer of keys and values per layer.

    Raises:
        UsageError: the architecture needs another kind of cache.
    """
    cache = DynamicCache(config=network.config)
    kinds = {type(layer).__name__ for layer in cache.layers if type(layer) is not DynamicLayer}
    if kinds:
        raise UsageError(f"{network.config.model_type}: caches by {', '.join(sorted(kinds))}; only models with full "
                         "attention in every layer can share a prompt among its samples; try another model")
    return cache


def expand(prefix: Prefix, repeats_P: Sequence[int]) -> Prefix:
    """Each prompt's row repeated to its `repeats_P` rows, prompts in order. Gradients add up over the rows."""
    device = prefix.mask_BS.device
    row_of_B = torch.repeat_interleave(torch.arange(len(repeats_P), device=device),
                                       torch.tensor(repeats_P, device=device))
    pairs = [(keys.index_select(0, row_of_B), values.index_select(0, row_of_B)) for keys, values, _ in prefix.cache]
    return Prefix(DynamicCache(pairs), prefix.mask_BS[row_of_B], prefix.lengths_B[row_of_B],
                  prefix.last_hidden_BD.index_select(0, row_of_B))


def shared_hidden(model: Any, prompts_P: Prompts, completions_by_group: Completions) -> Tensor:
    """What the head needs for the log-probs of completions, each group's prompt computed once.

    Args:
        model: the network, or a PEFT model around it.
        prompts_P: token ids of each prompt, none empty.
        completions_by_group: for each prompt the token ids of its samples; group sizes and lengths may differ.

    Returns:
        hidden_KD: with gradients, the network's output at the place before each completion token; the groups' samples
        in order, no padding.
    """
    network = network_of(model)
    prefix = prefill(model, *pad_left(prompts_P, network.device))
    prefix = expand(prefix, [len(group) for group in completions_by_group])
    completions_B = [row for group in completions_by_group for row in group]
    ids_BT, mask_BT = pad_right(completions_B, network.device)
    hidden_BTD = prefix.last_hidden_BD[:, None]
    if ids_BT.shape[1] > 1:
        steps_T = torch.arange(ids_BT.shape[1] - 1, device=ids_BT.device)
        output = network.base_model(
            input_ids=ids_BT[:, :-1], position_ids=prefix.lengths_B[:, None] + steps_T, past_key_values=prefix.cache,
            attention_mask=torch.cat([prefix.mask_BS, mask_BT[:, :-1].long()], 1), use_cache=True)
        hidden_BTD = torch.cat([hidden_BTD, output.last_hidden_state], 1)
    return hidden_BTD.flatten(0, 1).index_select(0, filled([len(row) for row in completions_B], network.device))


def naive_hidden(model: Any, prompts_P: Prompts, completions_by_group: Completions) -> Tensor:
    """The same as `shared_hidden` by a plain forward pass over each whole sequence: N times the prompt's work.

    For networks that keep no keys and values to share, and as the oracle of the tests.
    """
    network = network_of(model)
    completions_B = [row for group in completions_by_group for row in group]
    prompts_B = [prompt for prompt, group in zip(prompts_P, completions_by_group, strict=True) for _ in group]
    prompt_BS, prompt_mask_BS = pad_left(prompts_B, network.device)
    ids_BT, mask_BT = pad_right(completions_B, network.device)
    all_mask = torch.cat([prompt_mask_BS, mask_BT.long()], 1)
    output = network.base_model(
        input_ids=torch.cat([prompt_BS, ids_BT], 1), attention_mask=all_mask,
        position_ids=(all_mask.cumsum(1) - 1).clamp(min=0), use_cache=False)
    start = prompt_BS.shape[1] - 1
    hidden_BTD = output.last_hidden_state[:, start:start + ids_BT.shape[1]]
    return hidden_BTD.flatten(0, 1).index_select(0, filled([len(row) for row in completions_B], network.device))


def filled(lengths_B: Sequence[int], device: torch.device) -> Tensor:
    """Where the tokens of ragged rows stand in the flat rectangle of `pad_right`: places `[K]` below B · T.

    From the lengths alone: a boolean index would make the device wait for the mask, and a mask without numbers (a fake
    tensor's) has none.
    """
    longest = max(lengths_B, default=0)
    places = [start * longest + t for start, length in enumerate(lengths_B) for t in range(length)]
    return sent(places, device)


def sent(values: Any, device: torch.device, dtype: torch.dtype = torch.long) -> Tensor:
    """Nested lists of numbers as a tensor, without waiting for what the device is doing."""
    return torch.tensor(values, dtype=dtype).to(device, non_blocking=True)


def spread(values_K: Tensor, lengths_B: Sequence[int]) -> Tensor:
    """A value for each token, in order, as a rectangle `[B, T]` that is 0 at the padding on the right."""
    shape = len(lengths_B), max(lengths_B, default=0)
    return values_K.new_zeros(math.prod(shape)).index_copy(0, filled(lengths_B, values_K.device), values_K).view(shape)
