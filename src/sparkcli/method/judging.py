"""The model as its own generative reward model: asking for verdicts, reading and counting them.

pointwise  each different answer of a group is judged alone; its score is the share of votes that it is right
pairwise   every two different answers of a group are compared; its score is the share of its comparisons won

A vote that cannot be read is no vote: it counts neither for nor against. Equal answers (by spelling) of a group are
judged once and share the result. An answer without a single readable vote, one that is not there, and a pairwise
group with nothing to compare have the status `no_verdict` and no score.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from sparkcli.config import JudgeConfig
from sparkcli.method.answers import boxed, spelling
from sparkcli.method.draws import rng
from sparkcli.method.prompts import answer_of, ask_if_right, ask_which, shown
from sparkcli.method.templates import JudgeWording, Templates
from sparkcli.method.thoughts import reply_of
from sparkcli.records import Judged, Judgement, NoJudgement, Prompt, Rollout, extend

Sample = Callable[[Sequence[Prompt]], Iterable[Sequence[Rollout]]]
"""Samples prompts with whatever engine: one group of one rollout per prompt, in the order of the prompts."""

BALLOTS_PER_CALL = 512
"""Judge prompts that are collected before the sampler is called: enough to fill a batch, little to hold."""

_COMMAND = re.compile(r"\\[a-zA-Z]+\*?")
_AROUND = re.compile(r"^[\W_]+|[\W_]+$")


def read_label(completion: str, labels: Sequence[str]) -> str | None:
    r"""Which of `labels` the last box of a completion names, spelled as in `labels`; None: it names none.

    Case, punctuation and LaTeX text commands around the label do not matter; any other word does.

    >>> read_label(r"It checks out. \boxed{\text{yes.}}", ("Yes", "No"))
    'Yes'
    >>> read_label("Yes", ("Yes", "No")), read_label(r"\boxed{A or B}", ("A", "B"))
    (None, None)
    """
    content = boxed(completion)
    if content is None:
        return None
    said = _AROUND.sub("", _COMMAND.sub(" ", content)).casefold()
    return next((label for label in labels if label.casefold() == said), None)


def judge(groups: Iterable[Sequence[Rollout]], sample: Sample, config: JudgeConfig, templates: Templates,
          seed: int = 0) -> Iterator[Judged]:
    """Every rollout with the model's own judgement, in input order; streams, a few hundred verdicts at a time.

    `seed` draws wordings and, where `config.swap` is off, orders; they depend on it and the prompt's id alone.
    """
    waiting: list[_Case] = []
    for group in groups:
        waiting.append(_case(group, config, templates, seed))
        if sum(len(case.ballots) for case in waiting) >= BALLOTS_PER_CALL:
            yield from _decided(waiting, sample, config)
            waiting = []
    yield from _decided(waiting, sample, config)


@dataclass(frozen=True, slots=True)
class _Ballot:
    """One verdict to ask for: label 0 is a vote for the first of `answers`, label 1 for the second if there is one."""

    prompt: Prompt
    labels: tuple[str, str]
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Case:
    """A group, the key of each rollout's answer (None: nothing to judge), and what is asked about them."""

    group: Sequence[Rollout]
    keys: Sequence[str | None]
    ballots: Sequence[_Ballot]


@dataclass(slots=True)
class _Tally:
    """What was asked about an answer; of the questions, `failed` could not be sampled."""

    asked: int = 0
    failed: int = 0
    won: list[bool] = field(default_factory=list)
    critique: str | None = None


def _case(group: Sequence[Rollout], config: JudgeConfig, templates: Templates, seed: int) -> _Case:
    keys = [_key(rollout, config) for rollout in group]
    candidates: dict[str, Rollout] = {}
    for key, rollout in zip(keys, group, strict=True):
        if key is not None:
            candidates.setdefault(key, rollout)
    ballots = _single if config.mode == "pointwise" else _pairs
    return _Case(group, keys, list(ballots(candidates, config, templates, seed)))


def _key(rollout: Rollout, config: JudgeConfig) -> str | None:
    """Rollouts with the same key get the same verdict. Whole solutions are compared if their answers differ."""
    text = shown(rollout, config.shown)
    answer = answer_of(rollout)
    if text is None or (config.shown == "solution" and (config.mode == "pointwise" or answer is None)):
        return text
    return None if answer is None else spelling(answer)


def _single(candidates: dict[str, Rollout], config: JudgeConfig, templates: Templates,
            seed: int) -> Iterator[_Ballot]:
    for key, rollout in candidates.items():
        draw = rng(seed, rollout.id, rollout.sample, "pointwise")
        for vote, wording in enumerate(_wordings(templates.pointwise, config.votes, draw)):
            id = f"{rollout.id}/{rollout.sample}/judge-{wording.name}-{vote}"
            prompt = ask_if_right(rollout, shown(rollout, config.shown) or "", wording, id)
            yield _Ballot(prompt, wording.labels, (key,))


def _pairs(candidates: dict[str, Rollout], config: JudgeConfig, templates: Templates,
           seed: int) -> Iterator[_Ballot]:
    for one, other in itertools.combinations(candidates, 2):
        first, second = candidates[one], candidates[other]
        draw = rng(seed, first.id, first.sample, second.sample, "pairwise")
        for vote, wording in enumerate(_wordings(templates.pairwise, config.votes, draw)):
            orders = [(one, other), (other, one)]
            for a, b in orders if config.swap else [draw.choice(orders)]:
                pair = candidates[a], candidates[b]
                id = f"{first.id}/{pair[0].sample}-{pair[1].sample}/compare-{wording.name}-{vote}"
                texts = shown(pair[0], config.shown) or "", shown(pair[1], config.shown) or ""
                yield _Ballot(ask_which(pair, texts, wording, id), wording.labels, (a, b))


def _wordings(pool: Sequence[JudgeWording], votes: int, draw: Random) -> list[JudgeWording]:
    """A wording per vote, all different as long as there are enough."""
    shuffled = draw.sample(pool, len(pool))
    return [shuffled[vote % len(shuffled)] for vote in range(votes)]


def _decided(cases: Sequence[_Case], sample: Sample, config: JudgeConfig) -> Iterator[Judged]:
    ballots = [ballot for case in cases for ballot in case.ballots]
    replies = iter(sample([ballot.prompt for ballot in ballots]) if ballots else ())
    for case in cases:
        tallies: dict[str, _Tally] = {}
        for ballot in case.ballots:
            _count(tallies, ballot, next(replies)[0])
        for rollout, key in zip(case.group, case.keys, strict=True):
            tally = tallies.get(key, _Tally()) if key is not None else _Tally()
            yield extend(rollout, Judged, judgement=_judgement(rollout, key, tally, config))


def _count(tallies: dict[str, _Tally], ballot: _Ballot, vote: Rollout) -> None:
    label = read_label(reply_of(vote), ballot.labels)
    for place, key in enumerate(ballot.answers):
        tally = tallies.setdefault(key, _Tally())
        tally.asked += 1
        tally.failed += vote.finish_reason == "error"
        if label is not None:
            tally.won.append(ballot.labels.index(label) == place)
            tally.critique = tally.critique or vote.completion


def _judgement(rollout: Rollout, key: str | None, tally: _Tally, config: JudgeConfig) -> Judgement:
    """A pointwise tie has the score 0.5 and no label."""
    votes = len(tally.won)
    score = sum(tally.won) / votes if votes else None
    label = None if score is None or score == 0.5 else "Yes" if score > 0.5 else "No"
    return Judgement(mode=config.mode, status="ok" if votes else "no_verdict", score=score,
                     reason=None if votes else _reason(rollout, key, tally),
                     label=label if config.mode == "pointwise" else None, votes=votes, asked=tally.asked,
                     critique=tally.critique)


def _reason(rollout: Rollout, key: str | None, tally: _Tally) -> NoJudgement:
    """Why there is no vote on a rollout whose answer has this key."""
    if key is None:
        return "not_sampled" if rollout.finish_reason == "error" else "no_answer"
    if not tally.asked:
        return "nothing_to_compare"
    return "not_asked" if tally.failed == tally.asked else "unreadable"
