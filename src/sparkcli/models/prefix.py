"""A group's prompt, computed once.

The N samples of a prompt share it. The prompt runs through the network once (`prefill`, left-padded), its images with
it; its keys and values are repeated to the rows of the samples (`expand`); completions run on top, right-padded, with
explicit positions and mask. The first token's distribution comes from the prompt's last hidden state. Training does it
with gradients into the prompt, and into what reads its images where that is trained: the result is that of the plain
forward pass over each whole sequence.

A network finds an image's places by its tokens. So that an image token which was sampled, or which stands in a prompt
without images, is a token like others, the network is told another in its stead, and the embedding alone sees it.

Axes: P prompts, B rows (samples), T tokens, S tokens before and including T, A axes of positions, D hidden,
V vocabulary, K packed tokens.
Limits: attention caches only (no sliding windows shorter than the sequence, no recurrent state).
"""

import contextlib
import inspect
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from sparkcli.errors import UsageError
from sparkcli.models.network import body_of
from sparkcli.models.sight import Placed, axes, pixel_inputs

Prompts = Sequence[Placed]

Completions = Sequence[Sequence[Sequence[int]]]
"""For each prompt the token ids of its samples."""


@dataclass(frozen=True)
class Prefix:
    """Prompts that went through the network: one row a prompt, or after `expand` one row a sample."""

    cache: DynamicCache
    mask_BS: Tensor
    """1 at the prompt's tokens, 0 at the padding on their left."""
    ends_B: Tensor
    """Position of the first token after each prompt."""
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


def positions(rows: Sequence[tuple[Placed, int]], count: int) -> list[list[list[int]]]:
    """Where the tokens of prompts and of what follows each of them stand: a list of rows for each of `count` axes.

    Args:
        rows: a prompt, and how many tokens after it the row goes on.
    """

    def on_axis(axis: int, prompt: Placed, more: int) -> list[int]:
        own = range(len(prompt.token_ids)) if prompt.positions_AT is None else prompt.positions_AT[axis].tolist()
        return [*own, *range(prompt.end, prompt.end + more)]

    return [[on_axis(axis, prompt, more) for prompt, more in rows] for axis in range(count)]


def run(network: PreTrainedModel, ids: Tensor, told: Tensor, prompts: Prompts, cache: DynamicCache | None = None,
        **inputs: Any) -> Tensor:
    """The network's output `[..., D]`.

    Args:
        ids: the tokens.
        told: see `told`; the same where that changed nothing.
        prompts: those whose images `told` has the places of, in order.
        cache: keys and values of what stands before, to which those of `ids` are added; None: nothing is kept.
    """
    pixels = pixel_inputs(prompts, network.device)
    if cache is not None:
        inputs[_cache_name(network)] = cache
    with embedding(network, ids) if pixels else contextlib.nullcontext():
        hidden: Tensor = body_of(network)(input_ids=told if pixels else ids, use_cache=cache is not None, **pixels,
                                            **inputs).last_hidden_state
    return hidden


def _cache_name(network: PreTrainedModel) -> str:
    """What the network calls its cache: transformers renamed it in 5.24; code that comes with a model may not have."""
    return "cache" if "cache" in inspect.signature(body_of(network).forward).parameters else "past_key_values"


@contextlib.contextmanager
def embedding(network: PreTrainedModel, ids: Tensor) -> Iterator[None]:
    """Within it the embedding reads `ids`, whatever the network is told."""
    hook = network.get_input_embeddings().register_forward_pre_hook(lambda *_: (ids,))
    try:
        yield
    finally:
        hook.remove()


def told(network: PreTrainedModel, row: Sequence[int], shows: bool = False) -> Sequence[int]:
    """A row without image tokens, unless it `shows` images at them."""
    marker = getattr(network.config, "image_token_id", None)
    if marker is None or shows or marker not in row:
        return row
    return [int(marker == 0) if token == marker else token for token in row]


def prefill(model: Any, prompts_P: Prompts) -> Prefix:
    """Runs prompts once, left-padded. Gradients flow if they are enabled.

    Raises:
        UsageError: the model keeps something else than keys and values of all tokens.
    """
    network = network_of(model)
    cache = new_cache(network)
    ids_PT, mask_PT = pad_left([prompt.token_ids for prompt in prompts_P], network.device)
    told_PT, _ = pad_left([told(network, prompt.token_ids, bool(prompt.pixels)) for prompt in prompts_P],
                          network.device)
    is_even = len({len(prompt.token_ids) for prompt in prompts_P}) == 1
    hidden_PTD = run(network, ids_PT, told_PT, prompts_P, attention_mask=None if is_even else mask_PT,
                     position_ids=_padded([(prompt, 0) for prompt in prompts_P], ids_PT), cache=cache)
    ends_P = torch.tensor([prompt.end for prompt in prompts_P], device=network.device)
    return Prefix(cache, mask_PT, ends_P, hidden_PTD[:, -1])


def _padded(rows_P: Sequence[tuple[Placed, int]], ids_PT: Tensor) -> Tensor:
    """Positions of left-padded rows, `[P, T]` or `[A, P, T]`; 0 at the padding."""
    count = axes([prompt for prompt, _ in rows_P])
    rows_AP = [pad_left(rows, ids_PT.device)[0] for rows in positions(rows_P, count or 1)]
    return torch.stack(rows_AP) if count else rows_AP[0]


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
    return Prefix(DynamicCache(pairs), prefix.mask_BS[row_of_B], prefix.ends_B[row_of_B],
                  prefix.last_hidden_BD.index_select(0, row_of_B))


def shared_hidden(model: Any, prompts_P: Prompts, completions_by_group: Completions) -> Tensor:
    """What the head needs for the log-probs of completions, each group's prompt and images computed once.

    Args:
        model: the network, or a PEFT model around it.
        prompts_P: none empty.
        completions_by_group: for each prompt the token ids of its samples; group sizes and lengths may differ.

    Returns:
        hidden_KD: with gradients, the network's output at the place before each completion token; the groups' samples
        in order, no padding.
    """
    network = network_of(model)
    prefix = expand(prefill(model, prompts_P), [len(group) for group in completions_by_group])
    completions_B = [row for group in completions_by_group for row in group]
    ids_BT, mask_BT = pad_right(completions_B, network.device)
    hidden_BTD = prefix.last_hidden_BD[:, None]
    if ids_BT.shape[1] > 1:
        steps_T = torch.arange(ids_BT.shape[1] - 1, device=ids_BT.device)
        hidden = run(
            network, ids_BT[:, :-1], ids_BT[:, :-1], (), position_ids=prefix.ends_B[:, None] + steps_T,
            cache=prefix.cache, attention_mask=torch.cat([prefix.mask_BS, mask_BT[:, :-1].long()], 1))
        hidden_BTD = torch.cat([hidden_BTD, hidden], 1)
    return hidden_BTD.flatten(0, 1).index_select(0, filled([len(row) for row in completions_B], network.device))


def naive_hidden(model: Any, prompts_P: Prompts, completions_by_group: Completions) -> Tensor:
    """The same as `shared_hidden` by a plain forward pass over each whole sequence: N times the work of the prompt and
    of its images.

    For networks that keep something else than keys and values, or attend in a way of their own, and as the oracle of
    the tests. Sequences are padded on the right, where nothing before looks, so that text takes neither mask nor
    positions: that is right for windows, recurrent states and positions of any kind.
    """
    network = network_of(model)
    completions_B = list(itertools.chain.from_iterable(completions_by_group))
    prompts_B = [prompt for prompt, group in zip(prompts_P, completions_by_group, strict=True) for _ in group]

    def rectangle(prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        return pad_right([[*prompt, *row] for prompt, row in zip(prompts, completions, strict=True)], network.device)

    ids_BS, mask_BS = rectangle([prompt.token_ids for prompt in prompts_B], completions_B)
    told_BS, _ = rectangle([told(network, prompt.token_ids, bool(prompt.pixels)) for prompt in prompts_B],
                           [told(network, row) for row in completions_B])
    inputs: dict[str, Any] = {}
    if count := axes(prompts_B):
        rows = [(prompt, len(row)) for prompt, row in zip(prompts_B, completions_B, strict=True)]
        inputs = {"attention_mask": mask_BS.long(), "position_ids": torch.stack(
            [pad_right(rows_B, network.device)[0] for rows_B in positions(rows, count)])}
    hidden_BSD = run(network, ids_BS, told_BS, prompts_B, **inputs)
    before_K = [place * ids_BS.shape[1] + len(prompt.token_ids) - 1 + t
                for place, (prompt, row) in enumerate(zip(prompts_B, completions_B, strict=True))
                for t in range(len(row))]
    return hidden_BSD.flatten(0, 1).index_select(0, sent(before_K, network.device))


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
