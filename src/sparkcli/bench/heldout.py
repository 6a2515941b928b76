"""The held-out items of an evaluation: fixed before the first update, so that before and after answer the same prompts.

Judge, pair and reflection items are made from the base policy's own sampled answers to held-out problems, in the
recycler's wordings. Right and wrong answers to judge are equally many, so that a judge that always says Yes scores 50 %.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from sparkcli.config import RolloutConfig
from sparkcli.method.draws import rng
from sparkcli.method.prompts import answer_of, ask_again, ask_if_right, ask_which
from sparkcli.method.templates import Templates
from sparkcli.records import Prompt, Rollout, Scored, groups

Sample = Callable[[Iterable[Prompt], RolloutConfig], Iterator[list[Rollout]]]
"""An engine's `sample`."""
Verify = Callable[[Iterable[Rollout]], Iterator[Scored]]
"""A pool's `verify`."""

SAMPLES = 4
"""Answers sampled per problem to make items from."""
CHUNK = 256
"""Problems sampled at a time, until there are items enough of every kind."""


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


def held_out(problems: Iterable[Prompt], sample: Sample, verify: Verify, templates: Templates, config: RolloutConfig,
             limit: int) -> HeldOut:
    """At most `limit` items of each kind; fewer where the problems, or the base's mixed answers to them, run out.

    `sample` is asked for SAMPLES answers per problem under `config` (its seed and temperature), CHUNK problems at a time.
    """
    items = HeldOut()
    source = iter(problems)
    drawing = config.drawing(SAMPLES)
    while any(len(found) < limit for found in vars(items).values()):
        chunk = list(itertools.islice(source, CHUNK))
        if not chunk:
            break
        items.solve += chunk[: limit - len(items.solve)]
        for group in groups(verify(itertools.chain.from_iterable(sample(chunk, drawing)))):
            _add(items, group, templates, limit)
    return items


def _add(items: HeldOut, group: Sequence[Scored], templates: Templates, limit: int) -> None:
    """The items that one problem's answers give."""
    draw = rng(0, group[0].id, "held-out")
    right = [s for s in group if s.reward == 1 and answer_of(s) is not None]
    wrong = [s for s in group if s.reward == 0 and answer_of(s) is not None]
    judge_right = len(items.pointwise) % 2 == 0
    shown = draw.choice((right if judge_right else wrong) or [None])
    wording = draw.choice(templates.pointwise)
    if shown and len(items.pointwise) < limit:
        id = f"{shown.id}/judge-{wording.name}-{shown.sample}"
        items.pointwise.append(ask_if_right(shown, answer_of(shown) or "", wording, id, judge_right))
    if right and wrong and len(items.pairwise) < limit:
        items.pairwise.append(_pair(draw.choice(right), draw.choice(wrong), draw.random() < 0.5,
                                    templates, draw.randrange(len(templates.pairwise))))
    if wrong and len(items.reflection) < limit:
        attempt, reflected = draw.choice(wrong), draw.choice(templates.reflection)
        text = attempt.completion if reflected.attempt == "cot" else answer_of(attempt) or ""
        items.reflection.append(ask_again(attempt, text, reflected, f"{attempt.id}/reflect-{reflected.name}-{attempt.sample}"))


def _pair(right: Scored, wrong: Scored, right_first: bool, templates: Templates, number: int) -> Prompt:
    pair = (right, wrong) if right_first else (wrong, right)
    wording = templates.pairwise[number]
    id = f"{right.id}/compare-{wording.name}-{pair[0].sample}-{pair[1].sample}"
    return ask_which(pair, (answer_of(pair[0]) or "", answer_of(pair[1]) or ""), wording, id, 0 if right_first else 1)
