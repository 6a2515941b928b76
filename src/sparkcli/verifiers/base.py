"""What every verifier is: how it reads an answer from a completion, how it compares that with the gold."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sparkcli.records import Status, Verdict

Options = Mapping[str, Any]
Finding = tuple[Status, str | None]
"""A status, and one line on why where the status needs one."""

CORRECT: Finding = ("correct", None)
WRONG: Finding = ("wrong", None)


def undecided(gold: str, answer: str, options: Options) -> Finding | None:
    """The shortcut of a verifier that has none."""
    return None


def nothing() -> None:
    """The warm-up of a verifier that needs none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """One way to check an answer. All functions are pure, and none keeps time: workers do that.

    `read(gold, completion, options)` gives the answer as text, None where there is none. It may look at the
    gold answer only to know what kind of answer to look for. `check(gold, answer, options)` compares. Both
    are given every option. An `isolated` verifier runs code that can hang, crash or eat memory: its `check`
    only runs in a worker process. Its `quick` answers in the parent what surely has one verdict, and is None
    for the rest; `warm` is run in the worker before the clock of the first check.
    """

    name: str
    read: Callable[[str, str, Options], str | None]
    check: Callable[[str, str, Options], Finding]
    options: Options = field(default_factory=dict)
    isolated: bool = False
    quick: Callable[[str, str, Options], Finding | None] = undecided
    warm: Callable[[], object] = nothing

    def verify(self, gold: str, completion: str, options: Options | None = None) -> Verdict:
        """The verdict on one completion, in this process and without a time limit."""
        chosen = {**self.options, **(options or {})}
        answer = self.read(gold, completion, chosen)
        if answer is None:
            return Verdict(status="no_answer", verifier=self.name)
        status, reason = self.quick(gold, answer, chosen) or self.check(gold, answer, chosen)
        return Verdict(status=status, extracted=answer, verifier=self.name, reason=reason)
