"""Verified groups become new prompts with known answers: the step that makes SPARK more than GRPO.

Per group of samples of one prompt (SPARK, arXiv 2509.22624, and its public code):

    all right or all wrong   one sample is judged alone                      label: Yes / No, or A / B
    mixed                    with `pair_share` a right and a wrong one are compared, else one is judged alone
    at least one wrong       the question is asked again beside a wrong one  label: the gold answer

Different from the published code: every draw depends on (seed, prompt id) alone, so the order of the groups
does not matter, and without `max_*` and `balance`, which look at the whole input, neither does its sharding.
A recycled id carries the seed, so prompts that wait together from several steps, each with a seed of its own,
stay apart. A prompt of several turns, which the published code has none of, keeps its earlier ones (see
`method.prompts`). Groups may have any size. Samples of unknown verdict are never used. What is not made is counted by
reason.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from sparkcli.config import RecycleConfig
from sparkcli.method.answers import spelling
from sparkcli.method.draws import rng
from sparkcli.method.prompts import answer_of, ask_again, ask_if_right, ask_which
from sparkcli.method.templates import Templates
from sparkcli.records import Prompt, Scored

SKIPPED: Mapping[str, str] = {
    "not_first_generation": "groups of prompts that were recycled themselves",
    "no_known_verdict": "groups in which every reward is null",
    "judge_no_answer": "no sample of the kind drawn has a final answer to judge",
    "pair_no_answer": "mixed, but the right or the wrong samples have no final answer",
    "pair_same_answer": "mixed, but right and wrong samples have the same final answer",
    "reflect_no_gold": "the original has no gold answer",
    "reflect_no_attempt": "no wrong sample has the part (whole solution, final answer) to show",
    "balance": "judge prompts dropped so that right and wrong are equally many",
    "max_judge": "judge prompts over the limit",
    "max_reflect": "reflection prompts over the limit",
}
"""Why a group gave no judge prompt, or no reflection prompt where it has a wrong sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecycleReport:
    """What `recycle` made of its input; every count is there, also at 0."""

    groups: int
    unknown_samples: int
    prompts: Mapping[str, int]
    labels: Mapping[str, int]
    shown_right: int
    shown_wrong: int
    skipped: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """The counts as JSON values, for metrics."""
        return dataclasses.asdict(self)

    def summary(self) -> str:
        """One line for people."""
        labels = ", ".join(f"{label} {count}" for label, count in self.labels.items())
        skipped = ", ".join(f"{reason} {count}" for reason, count in self.skipped.items() if count)
        judge, compare, reflect = (self.prompts[task] for task in ("judge", "compare", "reflect"))
        return (f"recycled {self.groups} groups: {judge} judge (right {self.shown_right}, wrong "
                f"{self.shown_wrong}), {compare} compare, {reflect} reflect; "
                f"labels: {labels or 'none'}; skipped: {skipped or 'none'}")


@dataclass(frozen=True, slots=True)
class _Made:
    """A recycled prompt, before limits. `right`: whether the one answer that it shows is; None: not one."""

    prompt: Prompt
    priority: float
    right: bool | None = None


@dataclass(frozen=True, slots=True)
class _Group:
    """Samples of one prompt whose verdict is known, by sample number; `unknown` counts the others."""

    id: str
    right: Sequence[Scored]
    wrong: Sequence[Scored]
    unknown: int


def recycle(groups: Iterable[Sequence[Scored]], config: RecycleConfig,
            templates: Templates) -> tuple[list[Prompt], RecycleReport]:
    """The recycled prompts in the order of the groups, a group's judge prompt before its reflection prompt.

    `groups` holds the samples of one prompt each, in any number; only what is quoted stays in memory.
    """
    recycler = _Recycler(config, templates)
    made: list[_Made] = []
    skipped: Counter[str] = Counter()
    number = unknown = 0
    for samples in groups:
        number += 1
        group = _known(samples)
        unknown += group.unknown
        for result in recycler.results(group, samples):
            if isinstance(result, str):
                skipped[result] += 1
            else:
                made.append(result)
    kept, dropped = _limited(made, config)
    return [item.prompt for item in kept], _report(kept, number, unknown, skipped + dropped)


def _known(samples: Sequence[Scored]) -> _Group:
    known = sorted((s for s in samples if s.reward is not None), key=lambda s: s.sample)
    right = [s for s in known if s.verdict.status == "correct"]
    wrong = [s for s in known if s.verdict.status in ("wrong", "no_answer")]
    return _Group(id=samples[0].id if samples else "", right=right, wrong=wrong,
                  unknown=len(samples) - len(right) - len(wrong))


@dataclass(frozen=True, slots=True)
class _Recycler:
    """The rules for one group. A string in place of a prompt is the reason why there is none."""

    config: RecycleConfig
    templates: Templates

    def results(self, group: _Group, samples: Sequence[Scored]) -> Iterator[_Made | str]:
        if any(sample.task != "solve" for sample in samples):
            yield "not_first_generation"
        elif not group.right and not group.wrong:
            yield "no_known_verdict"
        else:
            yield self.judge(group)
            if group.wrong:
                yield self.reflect(group)

    def judge(self, group: _Group) -> _Made | str:
        draw = rng(self.config.seed, group.id, "judge")
        priority = draw.random()
        if group.right and group.wrong:
            if draw.random() < self.config.pair_share:
                return self.compare(group, draw, priority)
            right = draw.random() < 0.5
        else:
            right = bool(group.right)
        candidates = _answered(group.right if right else group.wrong)
        if not candidates:
            return "judge_no_answer"
        (sample, answer), wording = draw.choice(candidates), draw.choice(self.templates.pointwise)
        name = f"{group.id}/{self.config.seed}/judge-{wording.name}-{sample.sample}"
        return _Made(ask_if_right(sample, self.shown(sample, answer), wording, name, right), priority, right)

    def compare(self, group: _Group, draw: Random, priority: float) -> _Made | str:
        rights, wrongs = _answered(group.right), _answered(group.wrong)
        if not rights or not wrongs:
            return "pair_no_answer"
        for right in draw.sample(rights, len(rights)):
            others = [wrong for wrong in wrongs if spelling(wrong[1]) != spelling(right[1])]
            if others:
                break
        else:
            return "pair_same_answer"
        place, wrong = draw.randrange(2), draw.choice(others)
        (a, answer_a), (b, answer_b) = (right, wrong) if place == 0 else (wrong, right)
        wording = draw.choice(self.templates.pairwise)
        name = f"{group.id}/{self.config.seed}/compare-{wording.name}-{a.sample}-{b.sample}"
        texts = self.shown(a, answer_a), self.shown(b, answer_b)
        return _Made(ask_which((a, b), texts, wording, name, place), priority)

    def reflect(self, group: _Group) -> _Made | str:
        draw = rng(self.config.seed, group.id, "reflect")
        priority = draw.random()
        attempt = draw.choice(("cot", "answer")) if self.config.attempt == "both" else self.config.attempt
        if group.wrong[0].answer is None:
            return "reflect_no_gold"
        candidates = _answered(group.wrong) if attempt == "answer" else [
            (sample, sample.completion) for sample in group.wrong if sample.completion.strip()]
        if not candidates:
            return "reflect_no_attempt"
        (sample, text), wording = draw.choice(candidates), draw.choice(self.templates.reflections(attempt))
        name = f"{group.id}/{self.config.seed}/reflect-{wording.name}-{sample.sample}"
        return _Made(ask_again(sample, text.strip(), wording, name), priority)

    def shown(self, sample: Scored, answer: str) -> str:
        return answer if self.config.shown == "answer" else sample.completion.strip()


def _answered(samples: Sequence[Scored]) -> list[tuple[Scored, str]]:
    """The samples that commit to an answer, with it."""
    return [(sample, answer) for sample in samples if (answer := answer_of(sample)) is not None]


def _limited(made: Sequence[_Made], config: RecycleConfig) -> tuple[list[_Made], Counter[str]]:
    """What balance and limits leave, in the order given, and how many were dropped for which reason."""
    reflections = [[item] for item in made if item.prompt.task == "reflect"]
    judges = [[item] for item in made if item.prompt.task != "reflect"]
    units = _balanced(made) if config.balance else judges
    kept = _drawn(units, config.max_judge) + _drawn(reflections, config.max_reflect)
    chosen = {id(item) for item in kept}
    left = Counter(item.prompt.task == "reflect" for item in kept)
    in_balance = sum(map(len, units))
    dropped = Counter(balance=len(judges) - in_balance, max_judge=in_balance - left[False],
                      max_reflect=len(reflections) - left[True])
    return [item for item in made if id(item) in chosen], dropped


def _balanced(made: Sequence[_Made]) -> list[list[_Made]]:
    """Units to be kept or dropped whole: each pair alone, and right and wrong pointwise prompts two by two.

    Of the kind that there is more of, those with the largest priorities find no partner.
    """
    by_priority = sorted(made, key=_priority)
    rights = [item for item in by_priority if item.right is True]
    wrongs = [item for item in by_priority if item.right is False]
    few, many = sorted((rights, wrongs), key=len)
    couples = [list(couple) for couple in zip(few, many, strict=False)]
    return [[item] for item in made if item.prompt.task == "compare"] + couples


def _drawn(units: Sequence[Sequence[_Made]], limit: int | None) -> list[_Made]:
    """Units in the random order of their priorities, as long as they fit into `limit` prompts."""
    kept: list[_Made] = []
    for unit in sorted(units, key=lambda unit: _priority(unit[0])):
        if limit is None or len(kept) + len(unit) <= limit:
            kept.extend(unit)
    return kept


def _priority(item: _Made) -> tuple[float, str]:
    return item.priority, item.prompt.id


def _report(kept: Sequence[_Made], groups: int, unknown: int, skipped: Mapping[str, int]) -> RecycleReport:
    tasks = Counter(item.prompt.task for item in kept)
    judges = [item.prompt for item in kept if item.prompt.task != "reflect"]
    labels = Counter(f"{prompt.task}/{prompt.answer}" for prompt in judges)
    shown = Counter(item.right for item in kept)
    return RecycleReport(groups=groups, unknown_samples=unknown,
                         prompts={task: tasks[task] for task in ("judge", "compare", "reflect")},
                         shown_right=shown[True], shown_wrong=shown[False],
                         labels=dict(sorted(labels.items())),
                         skipped={reason: skipped[reason] for reason in SKIPPED})
