"""Sampling by transformers' own `generate`: the network's own forward pass and cache, whatever they are.

Right for every causal architecture and slower: a prompt runs once for each of its rows, and a batch ends with its
longest row. The rows of a batch have prompts of equal length, so that nothing is padded, which recurrent states and
positions of some architectures would not forgive. `generate` is asked for the most likely token, of scores that leave
the token which was drawn here.

Axes: B rows, S tokens of their prompts, V vocabulary.
"""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
)

from sparkcli.engines.transformers.cache import Room
from sparkcli.engines.transformers.draws import draw, uniforms
from sparkcli.engines.transformers.rows import Group, Row, Rules
from sparkcli.models.sight import Placed, pixel_inputs


@torch.no_grad()
def generate(network: PreTrainedModel, groups: Sequence[Group], rules: Rules, room: Room) -> None:
    """Completes every row of every group, in batches that fit the room."""
    with _asked_for_nothing_else(network):
        for batch in _batches(groups, room):
            shown = {group: group.shown() for group, _ in batch}
            rows = [(prompt, row) for group, row in batch if (prompt := shown[group]) is not None]
            if rows:
                _complete(network, rows, rules)


def _complete(network: PreTrainedModel, prompts_rows_B: Sequence[tuple[Placed, Row]], rules: Rules) -> None:
    prompts_B, rows_B = zip(*prompts_rows_B, strict=True)
    ids_BS = torch.tensor([prompt.token_ids for prompt in prompts_B], device=network.device)
    model: Any = network
    model.generate(ids_BS, attention_mask=torch.ones_like(ids_BS), do_sample=False,
                   max_new_tokens=max(row.limit for row in rows_B),
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


def _batches(groups: Sequence[Group], room: Room) -> Iterator[list[tuple[Group, Row]]]:
    """Rows that run together: of prompts of one length, no more than there is room for, nor patches of images."""
    for _, alike in itertools.groupby(groups, key=lambda group: len(group.token_ids)):
        batch: list[tuple[Group, Row]] = []
        for group, row in [(one, row) for one in alike for row in one.rows]:
            patches = group.patches + sum(other.patches for other, _ in batch)
            if batch and (len(batch) == room.rows or patches > room.prefill):
                yield batch
                batch = []
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
