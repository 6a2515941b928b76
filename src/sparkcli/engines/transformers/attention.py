"""Attention of one new token of each row to the row's prompt, read once for all rows of the prompt, and to its own
tokens.

The two are softmaxes over parts of one sequence, joined by the mass that each part has. It is a transformers attention
function, so it works in every architecture that takes one. The network is run without a cache of its own; what is known
of the batch goes along as the argument `part`.

Axes: P prompts, N rows of a prompt, B rows, H key-value heads, G query heads of each, X = N · G, S and T tokens, D head
dimension.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel

from sparkcli.engines.transformers.cache import SharedCache
from sparkcli.errors import UsageError
from sparkcli.models.prefix import new_cache

NAME = "sparkcli_shared_prompts"
FOREIGN = ("softcap", "s_aux", "position_bias")
"""Arguments of some architectures' attention that are not done here."""


@dataclass(frozen=True)
class Filling:
    """Prompts on their way through the network, padded on the right: what they attend to they bring along."""

    cache: SharedCache
    first: int
    """Place of the first."""


@dataclass(frozen=True)
class Seats:
    """Which row belongs to which prompt; good until rows come or go."""

    grid_PN: Tensor
    """Places of each prompt's rows; where it has fewer than N, place 0."""
    spot_B: Tensor
    """Each row's place in the grid, counted through."""
    rows_B: Tensor
    prompt_length: int
    """Of the longest prompt."""
    beyond_PS: Tensor | None
    """True beyond each prompt's end; None where all are of one length."""

    @classmethod
    def of(cls, prompt_of_B: Sequence[int], lengths_P: Sequence[int], device: torch.device) -> "Seats":
        """Seats of rows with these prompts, and of prompts of these lengths."""
        rows_P: list[list[int]] = [[] for _ in lengths_P]
        seat_B = []
        for row, prompt in enumerate(prompt_of_B):
            seat_B.append((prompt, len(rows_P[prompt])))
            rows_P[prompt].append(row)
        widest, longest = max(map(len, rows_P)), max(lengths_P)
        grid_PN = torch.tensor([rows + [0] * (widest - len(rows)) for rows in rows_P], device=device)
        spot_B = torch.tensor([prompt * widest + seat for prompt, seat in seat_B], device=device)
        beyond_PS = _beyond(torch.tensor(lengths_P, device=device), longest) if min(lengths_P) < longest else None
        return cls(grid_PN, spot_B, torch.arange(len(seat_B), device=device), longest, beyond_PS)


@dataclass(frozen=True)
class Step:
    """One token more for every row."""

    cache: SharedCache
    seats: Seats
    lengths_B: Tensor
    """Tokens of each row that the cache has."""
    length: int
    """Of the longest, with the new one."""
    beyond_BT: Tensor | None
    """True beyond the new token; None where all rows are of one length."""

    @classmethod
    def of(cls, cache: SharedCache, seats: Seats, lengths_B: Tensor, shortest: int, longest: int) -> "Step":
        """A step of rows that have so many tokens."""
        beyond_BT = _beyond(lengths_B + 1, longest + 1) if shortest < longest else None
        return cls(cache, seats, lengths_B, longest + 1, beyond_BT)


@contextlib.contextmanager
def sharing(network: PreTrainedModel) -> Iterator[None]:
    """Within it the network takes `part=` and attends as this module does.

    Raises:
        UsageError: its architecture has an attention of its own, or layers that keep more than keys and values of all
            tokens.
    """
    new_cache(network)  # which refuses such layers
    if not network._supports_attention_backend:
        raise UsageError(f"{network.config.model_type}: an architecture whose attention cannot be exchanged, so the "
                         "transformers engine does not sample it; try --engine vllm")
    config = network.config.get_text_config()
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def attend(module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, *,
           part: Filling | Step, scaling: float | None = None, **kwargs: Any) -> tuple[Tensor, None]:
    """What transformers calls in each layer: `[B, heads, tokens, D]` → `[B, tokens, heads, D]`.

    Raises:
        UsageError: the architecture asks for more than a softmax over all tokens.
    """
    if any(kwargs.get(name) is not None for name in FOREIGN) or kwargs.get("sliding_window") is not None:
        raise UsageError(f"{type(module).__name__}: only plain attention to all tokens can share a prompt among its "
                         "samples; try --engine vllm")
    layer = part.cache.layer(module.layer_idx, key, value)
    if isinstance(part, Filling):
        layer.fill(part.first, key, value)
        return AttentionInterface()["sdpa"](module, query, key, value, None, scaling=scaling, is_causal=True)
    layer.append(part.seats.rows_B, part.lengths_B, part.length, key, value)
    rows, heads, _, dim = query.shape
    query_BHGD = query.reshape(rows, key.shape[1], -1, dim) * (dim**-0.5 if scaling is None else scaling)
    seats, length = part.seats, part.seats.prompt_length
    prompts = len(seats.grid_PN)
    prompt_BHGD, prompt_mass_BHG = _from_grid(seats, *_weighted(
        _to_grid(seats, query_BHGD), layer.prompt_keys_PHSD[:prompts, :, :length],
        layer.prompt_values_PHSD[:prompts, :, :length], seats.beyond_PS))
    own_BHGD, own_mass_BHG = _weighted(query_BHGD, layer.keys_BHTD[:rows, :, :part.length],
                                       layer.values_BHTD[:rows, :, :part.length], part.beyond_BT)
    share_BHG = (prompt_mass_BHG - own_mass_BHG).sigmoid().to(own_BHGD.dtype)
    return own_BHGD.lerp(prompt_BHGD, share_BHG[..., None]).reshape(rows, 1, heads, -1), None


AttentionInterface.register(NAME, attend)


def _weighted(query_BHXD: Tensor, keys_BHSD: Tensor, values_BHSD: Tensor, beyond_BS: Tensor | None
              ) -> tuple[Tensor, Tensor]:
    """Softmax-weighted values, and the logarithm of what the softmax divides by."""
    scores_BHXS = (query_BHXD @ keys_BHSD.transpose(2, 3)).float()
    if beyond_BS is not None:
        scores_BHXS.masked_fill_(beyond_BS[:, None, None], -torch.inf)
    weights_BHXS = scores_BHXS.softmax(-1)
    mass_BHX = scores_BHXS.amax(-1) - weights_BHXS.amax(-1).log()
    return weights_BHXS.to(values_BHSD.dtype) @ values_BHSD, mass_BHX


def _to_grid(seats: Seats, query_BHGD: Tensor) -> Tensor:
    """Rows beside those of the same prompt: `[P, H, X, D]`."""
    return query_BHGD[seats.grid_PN].transpose(1, 2).flatten(2, 3)


def _from_grid(seats: Seats, values_PHXD: Tensor, mass_PHX: Tensor) -> tuple[Tensor, Tensor]:
    """Rows in their own order again."""
    rows = seats.grid_PN.shape[1]
    values = values_PHXD.unflatten(2, (rows, -1)).transpose(1, 2).flatten(0, 1)[seats.spot_B]
    mass = mass_PHX.unflatten(2, (rows, -1)).transpose(1, 2).flatten(0, 1)[seats.spot_B]
    return values, mass


def _beyond(lengths_B: Tensor, longest: int) -> Tensor:
    return torch.arange(longest, device=lengths_B.device) >= lengths_B[:, None]
