"""The forward pass without padding: all tokens of a micro-batch in one row, each group's prompt once.

Embeddings, projections, feed-forward layers and norms see a row of K tokens: the prompts one after another, then the
completions. Only attention needs rectangles: an attention function of transformers' own interface takes the row apart,
lets prompts attend to themselves and completions to their prompt and to themselves, and puts it together again. The
numbers are those of `models.prefix.shared_hidden`; there is no cache, so layers can be recomputed. On a model of the
built-in one's shape, on a CPU, with lengths of 40 ± 12, it is 1.2 times as fast as the padded pass. With one group in
a micro-batch of a larger model, two thirds of the time are products with weights and a sixth is attention.

Axes: P prompts, S tokens of the longest; B completions, T tokens of the longest; K tokens in all; H heads, D of each;
A axes of positions.
Limits: full attention without soft-capping.
"""

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv

from sparkcli.models.network import attending
from sparkcli.models.prefix import (
    Completions,
    Prompts,
    filled,
    network_of,
    positions,
    run,
    sent,
    told,
)
from sparkcli.models.sight import axes

NAME = "sparkcli_packed"


@dataclass(frozen=True)
class Layout:
    """Where the tokens of the row stand in attention's rectangles, and back. All from lengths, on the CPU, moved once.

    A place is an index into the row, or into a flat rectangle; what stands at padding does not matter.
    """

    prompts_PS: Tensor | None
    """Places in the row of prompt tokens, padded on the right; None: a single prompt, which leads the row as it is."""
    prompt_places: Tensor | None
    """Where the prompts' tokens stand in that rectangle, in the row's order."""
    queries_BT: Tensor
    """Places in the row of completion tokens, padded on the right."""
    query_places: Tensor
    """Where the completions' tokens stand in that rectangle."""
    keys_BS: Tensor
    """Places in the row of what each completion may see: its prompt (S, padded on the left), then itself (T)."""
    mask: Tensor
    """0 where a completion's token sees a key, −∞ elsewhere: `[T, S + T]` where all prompts are as long, else
    `[B, 1, T, S + T]`. Not boolean, which each layer would turn into numbers of its own and keep."""


def packed_hidden(model: Any, prompts_P: Prompts, completions_by_group: Completions) -> Tensor:
    """As `models.prefix.shared_hidden`, inside `packing` of the same network."""
    network = network_of(model)
    lengths_by_group = [[len(row) for row in group] for group in completions_by_group]
    prompt_lengths_P = [len(prompt.token_ids) for prompt in prompts_P]
    completions_B = list(itertools.chain.from_iterable(completions_by_group))
    rows = [*(prompt.token_ids for prompt in prompts_P), *completions_B]
    told_rows = [*(told(network, prompt.token_ids, bool(prompt.pixels)) for prompt in prompts_P),
                 *(told(network, row) for row in completions_B)]

    def one(rows: Sequence[Sequence[int]]) -> Tensor:
        return sent([list(itertools.chain.from_iterable(rows))], network.device)

    hidden_1KD = run(network, one(rows), one(told_rows), prompts_P, attention_mask=None,
                     position_ids=positions_of(prompts_P, lengths_by_group, network.device),
                     layout=lay_out(prompt_lengths_P, lengths_by_group, network.device, network.dtype))
    return hidden_1KD[0].index_select(0, sent(before(prompt_lengths_P, lengths_by_group), network.device))


def positions_of(prompts_P: Prompts, lengths_by_group: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Positions of a row's tokens, `[1, K]` or `[A, 1, K]`."""
    count = axes(prompts_P)
    groups = zip(prompts_P, lengths_by_group, strict=True)
    follow = [list(range(prompt.end, prompt.end + length)) for prompt, lengths in groups for length in lengths]
    rows_A = [list(itertools.chain(*rows, *follow)) for rows in positions([(p, 0) for p in prompts_P], count or 1)]
    return sent([[row] for row in rows_A] if count else rows_A, device)


def lay_out(prompt_lengths_P: Sequence[int], lengths_by_group: Sequence[Sequence[int]],
            device: torch.device, dtype: torch.dtype) -> Layout:
    """The layout of a row: prompts one after another, then the groups' completions, given their lengths."""
    lengths_B = [length for group in lengths_by_group for length in group]
    prompt_of_B = [p for p, group in enumerate(lengths_by_group) for _ in group]
    *starts_P, end = itertools.accumulate(prompt_lengths_P, initial=0)
    starts_B = itertools.accumulate(lengths_B, initial=end)
    longest_S, longest_T = max(prompt_lengths_P), max(lengths_B)
    seen_PS = [padded(*span, longest_S, left=True) for span in zip(starts_P, prompt_lengths_P, strict=True)]
    own_BT = [padded(*span, longest_T) for span in zip(starts_B, lengths_B, strict=False)]
    prompts_PS = [padded(*span, longest_S) for span in zip(starts_P, prompt_lengths_P, strict=True)]
    sees = torch.ones(longest_T, longest_S + longest_T, dtype=torch.bool).tril(longest_S)
    if min(prompt_lengths_P) < longest_S:
        missing_B = torch.tensor([longest_S - prompt_lengths_P[p] for p in prompt_of_B])
        sees = sees & (torch.arange(longest_S + longest_T) >= missing_B[:, None, None, None])
    one = len(prompt_lengths_P) == 1
    return Layout(
        prompts_PS=None if one else sent(prompts_PS, device),
        prompt_places=None if one else filled(prompt_lengths_P, device),
        queries_BT=sent(own_BT, device), query_places=filled(lengths_B, device),
        keys_BS=sent([seen_PS[p] + own for p, own in zip(prompt_of_B, own_BT, strict=True)], device),
        mask=torch.zeros(sees.shape, dtype=dtype).masked_fill(~sees, -math.inf).to(device, non_blocking=True))


def padded(start: int, length: int, longest: int, left: bool = False) -> list[int]:
    """`length` places from `start` on, and place 0 where a rectangle of width `longest` has more room."""
    places, room = [*range(start, start + length)], [0] * (longest - length)
    return room + places if left else places + room


def before(prompt_lengths_P: Sequence[int], lengths_by_group: Sequence[Sequence[int]]) -> list[int]:
    """The place in the row before each completion token: of its prompt's last token, or of the token before it."""
    places: list[int] = []
    start = sum(prompt_lengths_P)
    for end, lengths in zip(itertools.accumulate(prompt_lengths_P), lengths_by_group, strict=True):
        for length in lengths:
            places += [end - 1, *range(start, start + length - 1)]
            start += length
    return places


def attend(module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, *, layout: Layout,
           scaling: float | None = None, **_: Any) -> tuple[Tensor, None]:
    """Attention on the row `[1, H, K, D]`, as transformers' attention interface has it; returns `[1, K, H, D]`."""
    query, key, value = (x[0].transpose(0, 1) for x in (query, key, value))
    tokens_of_prompts = len(query) - len(layout.query_places)
    prompts = sdpa(*(rectangle(x[:tokens_of_prompts], layout.prompts_PS) for x in (query, key, value)),
                   mask=None, scaling=scaling)
    completions = sdpa(rectangle(query, layout.queries_BT), rectangle(key, layout.keys_BS),
                       rectangle(value, layout.keys_BS), mask=layout.mask.to(query.dtype), scaling=scaling)
    return torch.cat([row(prompts, layout.prompt_places), row(completions, layout.query_places)])[None], None


def sdpa(query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None, scaling: float | None) -> Tensor:
    """Torch's attention, causal without a mask. Fused kernels take grouped heads with a mask on a CPU only."""
    grouped = query.shape[1] != key.shape[1]
    if grouped and mask is not None and query.device.type != "cpu":
        key, value = (repeat_kv(x, query.shape[1] // x.shape[1]) for x in (key, value))
        grouped = False
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=mask is None,
                                                   scale=scaling, enable_gqa=grouped)


def rectangle(row_KHD: Tensor, places_RT: Tensor | None) -> Tensor:
    """The tokens at `places_RT` as `[R, H, T, D]`; without places all of them, one row."""
    if places_RT is None:
        return row_KHD.transpose(0, 1)[None]
    return row_KHD.index_select(0, places_RT.flatten()).unflatten(0, places_RT.shape).transpose(1, 2)


def row(rectangle_RHTD: Tensor, places: Tensor | None) -> Tensor:
    """The tokens at the flat `places` of a rectangle as `[K, H, D]`; without places all of them."""
    tokens = rectangle_RHTD.transpose(1, 2).flatten(0, 1)
    return tokens if places is None else tokens.index_select(0, places)


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, lambda *_, **__: None)


@contextlib.contextmanager
def packing(network: PreTrainedModel) -> Iterator[None]:
    """Within it the network attends by `attend`. It must last until the backward pass, where layers are recomputed."""
    with attending(network, NAME):
        yield


def fits(network: PreTrainedModel) -> bool:
    """Whether the attention of a network that shares prompts can be plugged in, as far as its configuration tells."""
    is_capped = getattr(network.config.get_text_config(), "attn_logit_softcapping", None)
    return bool(network._supports_attention_backend) and not is_capped
