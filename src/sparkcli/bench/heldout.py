"""The held-out items of an evaluation: fixed before the first update, so that before and after answer the same.

Judge, pair and reflection items are made from the base policy's own sampled answers to held-out problems, in the
recycler's wordings. Right and wrong answers to judge are equally many: a judge that always says Yes scores 50 %.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sparkcli.bench.stages import Stages
from sparkcli.errors import SparkError
from sparkcli.method.draws import rng
from sparkcli.method.prompts import answer_of, ask_again, ask_if_right, ask_which
from sparkcli.method.templates import JudgeWording, Templates
from sparkcli.records import Prompt, Scored

SAMPLES = 4
"""Answers sampled per problem to make items from."""
PROBLEMS_PER_ITEM = 16
"""Problems are sampled until there are items enough, but at most this many times as many as items are wanted."""


@dataclass
class HeldOut:
    """Items per ability. Test-time self-reflection starts from those of `solve`."""

    solve: list[Prompt] = field(default_factory=list)
    pointwise: list[Prompt] = field(default_factory=list)
    pairwise: list[Prompt] = field(default_factory=list)
    reflection: list[Prompt] = field(default_factory=list)

    def cut(self, limit: int) -> "HeldOut":
        """The first `limit` items of each."""
        return HeldOut(**{name: items[:limit] for name, items in vars(self).items()})


def held_out(problems: Iterable[Prompt], stages: Stages, limit: int) -> HeldOut:
    """At most `limit` items of each kind; fewer where the problems run out, or where a base that is (nearly) always
    right or always wrong gives no mixed answers to `PROBLEMS_PER_ITEM * limit` of them.

    Problems are sampled a batch at a time; the items do not depend on its size.

    Raises:
        SparkError: not one problem of a batch could be sampled.
    """
    items = HeldOut()
    source = itertools.islice(problems, PROBLEMS_PER_ITEM * limit)
    size = max(1, stages.sampling.batch_size // SAMPLES)
    while any(len(found) < limit for found in vars(items).values()):
        chunk = list(itertools.islice(source, size))
        if not chunk:
            break
        items.solve += chunk[: limit - len(items.solve)]
        drawn = stages.drawn(chunk, SAMPLES)
        if all(sample.error for group in drawn for sample in group):
            raise SparkError(f"none of {len(chunk)} held-out problems could be sampled; the first: {drawn[0][0].error}")
        for group in drawn:
            _add(items, group, stages.templates, limit)
    return items


def _add(items: HeldOut, group: Sequence[Scored], templates: Templates, limit: int) -> None:
    """The items that one problem's answers give."""
    draw = rng(0, group[0].id, "held-out")
    right = [s for s in group if s.reward == 1 and answer_of(s) is not None]
    wrong = [s for s in group if s.reward == 0 and answer_of(s) is not None]
    show_right = len(items.pointwise) % 2 == 0
    shown = right if show_right else wrong
    if shown and len(items.pointwise) < limit:
        items.pointwise.append(_judge(draw.choice(shown), show_right, draw.choice(templates.pointwise)))
    if right and wrong and len(items.pairwise) < limit:
        items.pairwise.append(_pair(draw.choice(right), draw.choice(wrong), draw.choice([0, 1]),
                                    draw.choice(templates.pairwise)))
    if wrong and len(items.reflection) < limit:
        wording, attempt = draw.choice(templates.reflection), draw.choice(wrong)
        text = attempt.completion if wording.attempt == "cot" else answer_of(attempt) or ""
        items.reflection.append(ask_again(attempt, text, wording, f"{attempt.id}/reflect"))


def _judge(answer: Scored, right: bool, wording: JudgeWording) -> Prompt:
    return ask_if_right(answer, answer_of(answer) or "", wording, f"{answer.id}/judge", right)


def _pair(right: Scored, wrong: Scored, place: int, wording: JudgeWording) -> Prompt:
    """The right answer stands first for `place` 0."""
    pair = (right, wrong) if place == 0 else (wrong, right)
    return ask_which(pair, (answer_of(pair[0]) or "", answer_of(pair[1]) or ""), wording, f"{right.id}/compare", place)
