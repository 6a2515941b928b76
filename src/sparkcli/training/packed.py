"""The forward pass without padding: all tokens of a micro-batch in one row, each group's prompt once.

Embeddings, projections, feed-forward layers and norms see a row of K tokens: the prompts one after another, then the
completions. Only attention needs rectangles: an attention function of transformers' own interface takes the row apart,
lets prompts attend to themselves and completions to their prompt and to themselves, and puts it together again. The
numbers are those of `models.prefix.completion_logprobs`; there is no cache, so layers can be recomputed. On a model of
the built-in one's shape, on a CPU, with lengths of 40 ± 12, it is 1.3 to 1.4 times as fast as the padded pass.

Axes: P prompts, S tokens of the longest; B completions, T tokens of the longest; K tokens in all; H heads, D of each.
Limits: full attention without soft-capping, text positions. `packs` tells, by comparing numbers.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from sparkcli.models.head import chosen_logprobs
from sparkcli.models.prefix import Completions, Prompts, network_of, new_cache, pad_right, shared_hidden

NAME = "sparkcli_packed"
PROBE = (((1, 2, 3), (4,)), (((5, 6), (7,)), ((8, 9, 1),)))
"""Prompts and completions that `packs` compares the passes on."""


@dataclass(frozen=True)
class Layout:
    """Where the tokens of the row stand in the rectangles, and back."""

    slots_PS: Tensor
    """Place in the row of each prompt token; 0 at padding on the right."""
    slots_BT: Tensor
    """The same for completions."""
    filled_prompts: Tensor
    """Flat places of the prompts' rectangle that hold a token, in the row's order."""
    filled_completions: Tensor
    prompt_of_B: Tensor
    mask_B1TS: Tensor
    """What a completion's token sees: its prompt, then what stands before it; the keys' axis has S + T places."""


def packed_hidden(model: Any, prompts_P: Prompts, completions_by_group: Completions) -> Tensor:
    """As `models.prefix.shared_hidden`, inside `packing` of the same network."""
    network = network_of(model)
    ids_PS, mask_PS = pad_right(prompts_P, network.device)
    ids_BT, mask_BT = pad_right([row for group in completions_by_group for row in group], network.device)
    prompt_of_B = torch.repeat_interleave(
        torch.arange(len(prompts_P)), torch.tensor([len(group) for group in completions_by_group])).to(network.device)
    layout = lay_out(mask_PS, mask_BT, prompt_of_B)
    lengths_P = mask_PS.sum(1)
    positions_BT = lengths_P[prompt_of_B][:, None] + torch.arange(mask_BT.shape[1], device=network.device)
    positions_K = torch.cat([(mask_PS.cumsum(1) - 1)[mask_PS], positions_BT[mask_BT]])
    hidden_KD = network.base_model(
        input_ids=torch.cat([ids_PS[mask_PS], ids_BT[mask_BT]])[None], position_ids=positions_K[None],
        attention_mask=None, use_cache=False, layout=layout).last_hidden_state[0]
    before_BT = layout.slots_BT - 1
    before_BT[:, 0] = (lengths_P.cumsum(0) - 1)[prompt_of_B]
    return hidden_KD.index_select(0, before_BT[mask_BT])


def lay_out(mask_PS: Tensor, mask_BT: Tensor, prompt_of_B: Tensor) -> Layout:
    """The places of prompts and completions that are padded on the right where the masks are false."""
    device, (rows, length) = mask_BT.device, mask_BT.shape
    prompt_tokens, tokens = int(mask_PS.sum()), int(mask_PS.sum() + mask_BT.sum())
    row_K = torch.arange(tokens, device=device)
    causal_TT = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    mask_BTS = torch.cat([mask_PS[prompt_of_B][:, None].expand(rows, length, -1), causal_TT.expand(rows, -1, -1)], 2)
    return Layout(slots_PS=torch.zeros_like(mask_PS, dtype=torch.long).masked_scatter(mask_PS, row_K[:prompt_tokens]),
                  slots_BT=torch.zeros_like(mask_BT, dtype=torch.long).masked_scatter(mask_BT, row_K[prompt_tokens:]),
                  filled_prompts=mask_PS.flatten().nonzero()[:, 0],
                  filled_completions=mask_BT.flatten().nonzero()[:, 0],
                  prompt_of_B=prompt_of_B, mask_B1TS=mask_BTS[:, None])


def attend(module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, *, layout: Layout,
           scaling: float | None = None, **_: Any) -> tuple[Tensor, None]:
    """Attention on the row `[1, H, K, D]`, as transformers' attention interface has it; returns `[1, K, H, D]`."""
    prompt_q, prompt_k, prompt_v = (rectangle(x[0], layout.slots_PS) for x in (query, key, value))
    own_q, own_k, own_v = (rectangle(x[0], layout.slots_BT) for x in (query, key, value))
    settings: dict[str, Any] = {"scale": scaling, "enable_gqa": query.shape[1] != key.shape[1]}
    prompts = functional.scaled_dot_product_attention(prompt_q, prompt_k, prompt_v, is_causal=True, **settings)
    keys, values = (torch.cat([shared.index_select(0, layout.prompt_of_B), own], 2)
                    for shared, own in ((prompt_k, own_k), (prompt_v, own_v)))
    completions = functional.scaled_dot_product_attention(own_q, keys, values, attn_mask=layout.mask_B1TS, **settings)
    row_KHD = torch.cat([tokens_of(prompts, layout.filled_prompts), tokens_of(completions, layout.filled_completions)])
    return row_KHD[None], None


def rectangle(row_HKD: Tensor, slots_RT: Tensor) -> Tensor:
    """The tokens at `slots_RT`, as `[R, H, T, D]`."""
    heads, _, width = row_HKD.shape
    return row_HKD.index_select(1, slots_RT.flatten()).view(heads, *slots_RT.shape, width).transpose(0, 1)


def tokens_of(rectangle_RHTD: Tensor, filled: Tensor) -> Tensor:
    """The tokens at the flat places `filled`, as `[K, H, D]`."""
    return rectangle_RHTD.transpose(1, 2).flatten(0, 1).index_select(0, filled)


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, lambda *_, **__: None)


@contextlib.contextmanager
def packing(network: PreTrainedModel) -> Iterator[None]:
    """Within it the network attends by `attend`. It must last until the backward pass, where layers are recomputed."""
    config = network.config.get_text_config()
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def packs(network: PreTrainedModel) -> bool:
    """Whether this architecture can be run packed: its attention is pluggable, and the numbers are right on a probe.

    Raises:
        UsageError: the network cannot share prompts at all.
    """
    new_cache(network)
    config = network.config.get_text_config()
    if not network._supports_attention_backend or getattr(config, "attn_logit_softcapping", None):
        return False
    with torch.no_grad():
        expected_KD = shared_hidden(network, *PROBE)
        with packing(network):
            found_KD = packed_hidden(network, *PROBE)
        ids_K = torch.tensor([token for group in PROBE[1] for row in group for token in row], device=network.device)
        expected_K, found_K = (chosen_logprobs(network, x, ids_K)[0] for x in (expected_KD, found_KD))
    return torch.allclose(found_K, expected_K, atol=1e-3 if network.dtype == torch.float32 else 0.1, rtol=0)
