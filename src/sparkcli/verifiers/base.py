"""What every verifier is: how it reads an answer from a completion, how it compares that with the gold."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sparkcli.method.answers import Reading
from sparkcli.method.thoughts import reply
from sparkcli.records import STATUSES_WITH_REWARD, Status, Verdict

Options = Mapping[str, Any]


class Finding(NamedTuple):
    """What a comparison came to.

    `reason` is one line for people on how. `score`, 0 to 1, is the reward where that is not the status's own:
    an answer that is right in part is `wrong` with a score above 0. `is_unreadable`: the answer is in a notation that
    the verifier does not know, which is `wrong`, and counted apart in the summary.
    """

    status: Status
    reason: str
    score: float | None = None
    is_unreadable: bool = False

    @property
    def reward(self) -> float | None:
        """What the answer is worth; None where the status says nothing about it."""
        return STATUSES_WITH_REWARD.get(self.status) if self.score is None else self.score


def whole(gold: str, completion: str, options: Options) -> Reading | None:
    """The reading of verifiers that look at everything that was said."""
    return Reading(completion, "the whole completion", is_whole=True)


def undecided(gold: str, answer: str, options: Options) -> Finding | None:
    """The shortcut of a verifier that has none."""
    return None


def nothing() -> None:
    """The warm-up of a verifier that needs none."""


def accept(options: Options) -> None:
    """The validation of a verifier whose options need no more than their types."""


def unexplained(gold: str, answer: str, options: Options) -> Iterator[str]:
    """The notes of a verifier whose reasons say all there is."""
    return iter(())


def never(options: Options) -> bool:
    """Of a verifier that is given replies alone."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """One way to check an answer. All functions are pure, and none keeps time: workers do that.

    `read(gold, reply, options)` gives the answer, None where there is none. It is given what was said without what was
    thought (`method.thoughts`), or all of the completion where `sees_thoughts(options)`. It may look at the gold answer
    only to know what kind of answer to look for. `check(gold, answer, options)` compares. Both are given every option;
    `validate(options)` raises a ValueError, in one line, for values that cannot be. Where the record has no gold
    answer, `needs_gold` makes that an error; the others are given "".

    An `isolated` verifier runs code that can hang, crash or eat memory: its `check` only runs in a worker process.
    Its `quick` answers in the parent what surely has one verdict, and is None for the rest; `warm` is run in the
    worker before the clock of the first check. `notes` are for people who ask how a verdict came about: what was made
    of gold and answer before they were compared, in lines.
    """

    name: str
    read: Callable[[str, str, Options], Reading | None]
    check: Callable[[str, str, Options], Finding]
    options: Options = field(default_factory=dict)
    validate: Callable[[Options], None] = accept
    needs_gold: bool = True
    isolated: bool = False
    quick: Callable[[str, str, Options], Finding | None] = undecided
    warm: Callable[[], object] = nothing
    sees_thoughts: Callable[[Options], bool] = never
    notes: Callable[[str, str, Options], Iterator[str]] = unexplained

    def verify(self, gold: str, completion: str, options: Options | None = None) -> Verdict:
        """The verdict on one completion, in this process and without a time limit."""
        chosen = {**self.options, **(options or {})}
        said = completion if self.sees_thoughts(chosen) else reply(completion)
        reading = self.read(gold, said, chosen) if said or not completion.strip() else None
        if reading is None:
            return Verdict(status="no_answer", verifier=self.name)
        finding = self.quick(gold, reading.text, chosen) or self.check(gold, reading.text, chosen)
        extracted = None if reading.is_whole else reading.text
        return Verdict(status=finding.status, extracted=extracted, verifier=self.name, reason=finding.reason,
                       is_unreadable=finding.is_unreadable)
