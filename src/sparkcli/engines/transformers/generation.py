"""Sampling by transformers' own `generate`: the network's own forward pass and cache, whatever they are.

Right for every causal architecture and slower: a prompt runs once for each of its rows, and a batch ends with its
longest row. `generate` is asked for the most likely token, of scores that leave the token which was drawn here.

The rows of a batch have prompts of equal length, so that nothing is padded, which recurrent states and positions of
some architectures would not forgive; of those that do, prompts without images are padded on the left.

Axes: B rows, S tokens of their prompts, V vocabulary.
"""

import contextlib
import inspect
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import (
    DynamicCache,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from sparkcli.engines.transformers.cache import Room
from sparkcli.engines.transformers.draws import draw, uniforms
from sparkcli.engines.transformers.rows import Group, Row, Rules
from sparkcli.models.prefix import pad_left
from sparkcli.models.sight import Placed, pixel_inputs

LOGITS = 1 << 28
"""Computed for the prompts of a batch at most: a GiB in float32."""


@torch.no_grad()
def generate(network: PreTrainedModel, groups: Sequence[Group], rules: Rules, room: Room, *, pads: bool) -> None:
    """Completes every row of every group, in batches that fit the room.

    Args:
        pads: whether prompts of other lengths may share a batch.
    """
    most = room.prefill
    if "logits_to_keep" not in inspect.signature(network.forward).parameters:  # it computes those of all prompt tokens
        most = min(most, LOGITS // network.config.get_text_config().vocab_size)
    with _asked_for_nothing_else(network):
        for batch in _batches(groups, room.rows, most, pads):
            shown = {group: group.shown() for group, _ in batch}
            rows = [(prompt, row) for group, row in batch if (prompt := shown[group]) is not None]
            if rows:
                _complete(network, rows, rules)


def keeps_all_tokens(network: PreTrainedModel) -> bool:
    """Whether its cache is one of keys and values alone, where padding can be masked."""
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer)
               for layer in DynamicCache(config=network.config).layers)


def _complete(network: PreTrainedModel, prompts_rows_B: Sequence[tuple[Placed, Row]], rules: Rules) -> None:
    prompts_B, rows_B = zip(*prompts_rows_B, strict=True)
    ids_BS, mask_BS = pad_left([prompt.token_ids for prompt in prompts_B], network.device)
    model: Any = network
    model.generate(ids_BS, attention_mask=mask_BS, do_sample=False, max_new_tokens=max(row.limit for row in rows_B),
                   logits_processor=LogitsProcessorList([_Drawing(rows_B, rules, network.device)]),
                   stopping_criteria=StoppingCriteriaList([_AllEnded(rows_B)]),
                   **pixel_inputs(prompts_B, network.device), **_kinds(prompts_B, network.device))


def _kinds(prompts_B: Sequence[Placed], device: torch.device) -> dict[str, Tensor]:
    """Which tokens are images', for networks that find positions by it."""
    if all(prompt.kinds_1T is None for prompt in prompts_B):
        return {}
    text_1S = torch.zeros(1, len(prompts_B[0].token_ids), dtype=torch.long)
    kinds_B1S = [text_1S if prompt.kinds_1T is None else prompt.kinds_1T for prompt in prompts_B]
    return {"mm_token_type_ids": torch.cat(kinds_B1S).to(device)}


class _Drawing(LogitsProcessor):
    """Draws each row's next token from its logits, and leaves it alone to be chosen."""

    def __init__(self, rows_B: Sequence[Row], rules: Rules, device: torch.device) -> None:
        self.rows_B, self.rules = rows_B, rules
        self.keys_B = torch.tensor([row.key for row in rows_B], device=device)
        self.steps_B = torch.zeros_like(self.keys_B)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        rules = self.rules
        tokens_B, logprobs_B = draw(scores, uniforms(self.keys_B, self.steps_B), rules.temperature, rules.top_k,
                                    rules.top_p)
        self.steps_B += 1
        for row, token, logprob in zip(self.rows_B, tokens_B.tolist(), logprobs_B.tolist(), strict=True):
            if not row.ended:
                row.add(token, logprob, rules.stop_ids)
        return torch.zeros_like(scores).scatter_(1, tokens_B[:, None], 1.0)


class _AllEnded(StoppingCriteria):
    """Ends a batch once nothing is to come of any row. Rows that have ended go on until then, unread."""

    def __init__(self, rows_B: Sequence[Row]) -> None:
        self.rows_B = rows_B

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        return torch.tensor([row.ended for row in self.rows_B], device=input_ids.device)


def _batches(groups: Sequence[Group], rows: int, most: int, pads: bool) -> Iterator[list[tuple[Group, Row]]]:
    """Rows that run together, `rows` at most, whose prompts have no more than `most` tokens, nor patches of images; one
    row may have more."""

    def kind(group: Group) -> int:
        """Groups that may share a batch have the same."""
        return 0 if pads and not group.patches else len(group.token_ids)

    for _, alike in itertools.groupby(groups, key=kind):
        batch: list[tuple[Group, Row]] = []
        longest = patches = 0
        for group, row in [(one, row) for one in alike for row in one.rows]:
            longest, patches = max(longest, len(group.token_ids)), patches + group.patches
            if batch and (len(batch) == rows or max((len(batch) + 1) * longest, patches) > most):
                yield batch
                batch, longest, patches = [], len(group.token_ids), group.patches
            batch.append((group, row))
        yield batch


@contextlib.contextmanager
def _asked_for_nothing_else(network: PreTrainedModel) -> Iterator[None]:
    """Within it `generate` knows nothing of the settings that the model brings: penalties, limits, kinds of cache."""
    before = network.generation_config
    network.generation_config = GenerationConfig()
    try:
        yield
    finally:
        network.generation_config = before
