"""Self-reflection at test time: answer, judge it oneself, and if it is judged wrong, solve it afresh.

    answer ─▶ judge ─┬─ Yes: done
                     ├─ no verdict: done (unknown is not wrong, and "this is wrong" may not be said of it)
                     └─ No: reflect, with the previous final answer shown ─▶ judge …      at most `rounds` times

Source: the evaluation of SPARK (arXiv 2509.22624). A sample without a final answer is not judged, it is wrong as it
stands: the reflection shows its whole text. A reflection that gives no final answer leaves the previous one standing.

All records take each turn together, so a round costs two calls of the sampler, whatever their number.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from sparkcli.config import ReflectConfig
from sparkcli.method.answers import spelling
from sparkcli.method.draws import rng
from sparkcli.method.judging import Sample, read_label
from sparkcli.method.prompts import answer_of, ask_again, ask_if_right, foreign_fields
from sparkcli.method.templates import Templates
from sparkcli.method.thoughts import reply_of
from sparkcli.records import Prompt, Reflected, Rollout, Turn, extend

_OF_THE_SAMPLE = ("completion", "finish_reason", "prompt_token_ids", "token_ids", "logprobs", "tensors", "sampling",
                  "policy", "in_thought")


@dataclass(slots=True)
class _Course:
    """One record on its way. `answers`: those that have a final answer, with it, the first sample at the start."""

    first: Rollout
    turns: list[Turn]
    answers: list[tuple[Rollout, str]] = field(default_factory=list)
    rounds: int = 0
    accepted: bool = False
    open: bool = True

    def add(self, attempt: Rollout) -> None:
        answer = answer_of(attempt)
        if answer is not None:
            self.answers.append((attempt, answer))


def reflect(answers: Sequence[Rollout], sample: Sample, config: ReflectConfig, templates: Templates,
            seed: int = 0) -> list[Reflected]:
    """The selected answer of each record, in input order, with every turn that led to it.

    `config.select`: "last" is the last answer. "judge" is the last answer if the judge has accepted it, else the
    first: only a change that was accepted counts (this asks the judge once more, after the last round). "majority" is
    the most frequent answer, the later one on a tie. `seed` draws the wordings, from it and the record's id alone.
    """
    courses = [_started(answer) for answer in answers]
    for number in range(config.rounds):
        _judge_turn(courses, number, sample, templates, seed)
        _reflect_turn(courses, number, sample, templates, seed)
    if config.select == "judge":
        _judge_turn(courses, config.rounds, sample, templates, seed)
    return [_selected(course, config) for course in courses]


def _started(first: Rollout) -> _Course:
    course = _Course(first, [_turn("answer", first, answer_of(first))])
    course.add(first)
    course.open = first.finish_reason != "error" and bool(first.completion.strip())
    return course


def _judge_turn(courses: Sequence[_Course], number: int, sample: Sample, templates: Templates, seed: int) -> None:
    asked = [course for course in courses if course.open and course.answers]
    wordings = [_draw(course, number, "judge", seed).choice(templates.verdicts) for course in asked]
    prompts = [ask_if_right(course.first, course.answers[-1][1], wording, _id(course, "judge", number))
               for course, wording in zip(asked, wordings, strict=True)]
    for course, wording, reply in zip(asked, wordings, _replies(sample, prompts), strict=True):
        label = read_label(reply_of(reply), wording.labels)
        course.turns.append(_turn("judge", reply, label))
        course.accepted = label == wording.labels[0]
        course.open = label == wording.labels[1]


def _reflect_turn(courses: Sequence[_Course], number: int, sample: Sample, templates: Templates, seed: int) -> None:
    asked = [course for course in courses if course.open]
    prompts = []
    for course in asked:
        draw = _draw(course, number, "reflect", seed)
        wording = draw.choice(templates.reflections("answer" if course.answers else "cot", "afresh"))
        attempt = course.answers[-1][1] if course.answers else course.turns[-1].completion.strip()
        prompts.append(ask_again(course.first, attempt, wording, _id(course, "reflect", number)))
    for course, reply in zip(asked, _replies(sample, prompts), strict=True):
        course.turns.append(_turn("reflect", reply, answer_of(reply)))
        course.open = reply.finish_reason != "error" and bool(reply.completion.strip())
        course.rounds += 1
        course.add(reply)


def _turn(kind: Literal["answer", "judge", "reflect"], reply: Rollout, extracted: str | None) -> Turn:
    return Turn(kind=kind, completion=reply.completion, extracted=extracted, finish_reason=reply.finish_reason)


def _replies(sample: Sample, prompts: Sequence[Prompt]) -> list[Rollout]:
    return [group[0] for group in sample(prompts)] if prompts else []


def _draw(course: _Course, number: int, kind: str, seed: int) -> Random:
    return rng(seed, course.first.id, course.first.sample, kind, number)


def _id(course: _Course, kind: str, number: int) -> str:
    return f"{course.first.id}/{course.first.sample}/{kind}-{number}"


def _selected(course: _Course, config: ReflectConfig) -> Reflected:
    """The selected sample's text and tokens under the original's identity; what was said of the first is dropped."""
    chosen = course.first
    if course.answers and (config.select == "last" or (config.select == "judge" and course.accepted)):
        chosen = course.answers[-1][0]
    elif course.answers and config.select == "majority":
        counts = Counter(spelling(answer) for _, answer in course.answers)
        chosen = max(reversed(course.answers), key=lambda attempt: counts[spelling(attempt[1])])[0]
    sampled = {name: getattr(chosen, name) for name in _OF_THE_SAMPLE}
    return extend(course.first, Reflected, trace=tuple(course.turns), rounds=course.rounds,
                  **{**sampled, "extra": foreign_fields(course.first)})
