"""Attention of one new token of each row to the row's prompt, read once for all rows of the prompt, and to its own
tokens.

The scores of both parts stand side by side under one softmax. It is a transformers attention
function, so it works in every architecture that takes one. The network is run without a cache of its own; what is known
of the batch goes along as the argument `part`.

Axes: P prompts, N rows of a prompt, B rows, H key-value heads, G query heads of each, X = N · G, S tokens of prompts,
T tokens of completions, D head dimension, F features of any kind.
"""

import contextlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, DynamicCache, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from sparkcli.engines.transformers.cache import SharedCache
from sparkcli.errors import UsageError
from sparkcli.models.network import attending

NAME = "sparkcli_shared_prompts"
FOREIGN = ("softcap",)
"""Arguments of some architectures' attention that are not done here; nor are tensors that are not known."""

KNOWN = ("position_ids", "cache_position")

STRETCHING = ("dynamic", "longrope")
"""Kinds of rotary positions that are stretched for sequences longer than those of the training."""


@dataclass(frozen=True)
class Filling:
    """Prompts on their way through the network, padded on the right: what they attend to they bring along."""

    cache: SharedCache
    first: int
    """Place of the first."""
    calls: Counter[int] = field(default_factory=Counter)
    """How often each layer has attended in this pass: some do so more than once."""


@dataclass(frozen=True)
class Seats:
    """Which row belongs to which prompt; good until rows come or go."""

    grid_PN: Tensor
    """Places of each prompt's rows; where it has fewer than N, place 0."""
    prompt_B: Tensor
    """Each row's prompt."""
    seat_B: Tensor
    """Each row's place among those of its prompt."""
    rows_B: Tensor
    prompt_length: int
    """Of the longest prompt."""
    beyond_BS: Tensor
    """True beyond the end of each row's prompt."""

    @classmethod
    def of(cls, prompt_of_B: Sequence[int], lengths_P: Sequence[int], device: torch.device) -> "Seats":
        """Seats of rows with these prompts, and of prompts of these lengths."""
        rows_P: list[list[int]] = [[] for _ in lengths_P]
        seats = []
        for row, prompt in enumerate(prompt_of_B):
            seats.append(len(rows_P[prompt]))
            rows_P[prompt].append(row)
        widest, longest = max(map(len, rows_P)), max(lengths_P)
        grid_PN = torch.tensor([rows + [0] * (widest - len(rows)) for rows in rows_P], device=device)
        prompt_B, seat_B = torch.tensor(prompt_of_B, device=device), torch.tensor(seats, device=device)
        beyond_BS = _beyond(torch.tensor([lengths_P[prompt] for prompt in prompt_of_B], device=device), longest)
        return cls(grid_PN, prompt_B, seat_B, torch.arange(len(seats), device=device), longest, beyond_BS)


@dataclass(frozen=True)
class Step:
    """One token more for every row."""

    cache: SharedCache
    seats: Seats
    lengths_B: Tensor
    """Tokens of each row that the cache has."""
    length: int
    """Of the longest, with the new one."""
    beyond_B11K: Tensor
    """True where a row has no token: among the S places of its prompt, then among those of its completion."""
    calls: Counter[int] = field(default_factory=Counter)
    """As of `Filling`."""

    @classmethod
    def of(cls, cache: SharedCache, seats: Seats, lengths_B: Tensor, longest: int) -> "Step":
        """A step of rows that have so many tokens."""
        beyond_BK = torch.cat([seats.beyond_BS, _beyond(lengths_B + 1, longest + 1)], 1)
        return cls(cache, seats, lengths_B, longest + 1, beyond_BK[:, None, None])


@contextlib.contextmanager
def sharing(network: PreTrainedModel) -> Iterator[None]:
    """Within it the network takes `part=` and attends as this module does."""
    with attending(network, NAME):
        yield


def longest_shared(network: PreTrainedModel) -> float:
    """Up to how many tokens, prompt and completion together, the network attends to all tokens alike.

    Raises:
        UsageError: its architecture has an attention of its own, or layers that keep more than keys and values.
    """
    config = network.config.get_text_config()
    if not network._supports_attention_backend:
        raise UsageError("its attention cannot be exchanged")
    layers = DynamicCache(config=network.config).layers
    kinds = {type(layer).__name__ for layer in layers if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer)}
    if kinds:
        raise UsageError(f"it caches by {', '.join(sorted(kinds))}")
    windows = [layer.sliding_window for layer in layers if isinstance(layer, DynamicSlidingWindowLayer)]
    return min([math.inf, *windows, *_stretched_from(config)])


def _stretched_from(config: PreTrainedConfig) -> Iterator[float]:
    """Lengths from which on rotary positions depend on the longest sequence of a batch."""
    rope = getattr(config, "rope_parameters", None) or {}
    for parameters in (rope, *rope.values()):
        if isinstance(parameters, dict) and parameters.get("rope_type") in STRETCHING:
            yield parameters.get("original_max_position_embeddings") or config.max_position_embeddings


def attend(module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None, *,
           part: Filling | Step | None = None, scaling: float | None = None, **kwargs: Any) -> tuple[Tensor, None]:
    """What transformers calls in each layer: `[B, heads, tokens, D]` → `[B, tokens, heads, D]`.

    Raises:
        UsageError: the architecture asks for more than a softmax over all tokens.
    """
    if part is None:
        raise UsageError("its attention is told nothing of the batch")
    if foreign := [name for name, argument in kwargs.items() if name not in KNOWN
                   and (name in FOREIGN or isinstance(argument, Tensor)) and argument is not None]:
        raise UsageError(f"its attention takes {', '.join(foreign)}")
    number, part.calls[module.layer_idx] = part.calls[module.layer_idx], part.calls[module.layer_idx] + 1
    layer = part.cache.layer((module.layer_idx, number), key, value)
    if isinstance(part, Filling):
        layer.fill(part.first, key, value)
        return AttentionInterface()["sdpa"](module, query, key, value, None, scaling=scaling, is_causal=True)
    layer.append(part.seats.rows_B, part.lengths_B, part.length, key, value)
    rows, heads, _, dim = query.shape
    query_BHGD = query.reshape(rows, key.shape[1], -1, dim) * (dim**-0.5 if scaling is None else scaling)
    seats, prompts, longest = part.seats, len(part.seats.grid_PN), part.seats.prompt_length
    prompt_keys_PHSD = layer.prompt_keys_PHSD[:prompts, :, :longest]
    prompt_values_PHSD = layer.prompt_values_PHSD[:prompts, :, :longest]
    keys_BHTD, values_BHTD = layer.keys_BHTD[:rows, :, :part.length], layer.values_BHTD[:rows, :, :part.length]

    prompt_scores_BHGS = _from_grid(seats, _to_grid(seats, query_BHGD) @ prompt_keys_PHSD.transpose(2, 3))
    own_scores_BHGT = query_BHGD @ keys_BHTD.transpose(2, 3)
    scores_BHGK = torch.cat([prompt_scores_BHGS, own_scores_BHGT], 3).float().masked_fill_(part.beyond_B11K, -torch.inf)
    weights_BHGK = scores_BHGK.softmax(3).to(values_BHTD.dtype)
    prompt_weights_BHGS, own_weights_BHGT = weights_BHGK.split([longest, part.length], 3)
    attended_BHGD = _from_grid(seats, _to_grid(seats, prompt_weights_BHGS) @ prompt_values_PHSD)
    return (attended_BHGD + own_weights_BHGT @ values_BHTD).reshape(rows, 1, heads, -1), None


AttentionInterface.register(NAME, attend)


def _to_grid(seats: Seats, rows_BHGF: Tensor) -> Tensor:
    """Rows beside those of the same prompt: `[P, H, X, F]`."""
    return rows_BHGF[seats.grid_PN].transpose(1, 2).flatten(2, 3)


def _from_grid(seats: Seats, grid_PHXF: Tensor) -> Tensor:
    """Rows in their own order again: `[B, H, G, F]`."""
    return grid_PHXF.unflatten(2, (seats.grid_PN.shape[1], -1))[seats.prompt_B, :, seats.seat_B]


def _beyond(lengths_B: Tensor, longest: int) -> Tensor:
    return torch.arange(longest, device=lengths_B.device) >= lengths_B[:, None]
