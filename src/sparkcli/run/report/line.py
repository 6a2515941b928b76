"""A line of a file of records, as what its fields say it is."""

from dataclasses import dataclass
from typing import Any

from sparkcli.errors import InputError
from sparkcli.records import Judged, Judgement, Prompt, Reflected, Rollout, Scored, Turn, Verdict, from_json

MARKS: dict[str, type[Rollout]] = {"verdict": Scored, "judgement": Judged, "trace": Reflected}
"""Fields by which a rollout is known to have been verified, judged or reflected on; it may be all three."""
NOT_SAMPLED = "not_sampled"
"""Said of a sample that failed, whatever a verifier made of it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One sample, or a prompt that has none yet (`rollout` is None)."""

    prompt: Prompt
    kind: str
    rollout: Rollout | None = None
    verdict: Verdict | None = None
    reward: float | None = None
    terms: dict[str, float] | None = None
    judgement: Judgement | None = None
    trace: tuple[Turn, ...] = ()

    @property
    def word(self) -> str | None:
        """What was said of the sample, by the verifier or else by the judge; None: nothing yet."""
        if self.rollout is not None and self.rollout.finish_reason == "error":
            return NOT_SAMPLED
        if self.verdict is not None:
            return self.verdict.status
        return self.judgement.label if self.judgement else None


def line_of(value: Any, place: str) -> Line:
    """A decoded line of a file; `place` opens the message of an error.

    Raises:
        InputError: it is no record of any kind.
    """
    if isinstance(value, dict) and "prompt" not in value:
        raise InputError(f"{place}: prompt: missing, so this is no record; a report is on what prepare, rollout, "
                         "verify, recycle, judge and reflect write, or on a run's directory")
    if not isinstance(value, dict) or "completion" not in value:
        return Line(from_json(Prompt, value, place), "prompt")
    marked = [cls for mark, cls in MARKS.items() if mark in value] or [Rollout]
    records = [from_json(cls, value, place) for cls in marked]
    said = {name: getattr(record, name) for record in records
            for name in ("verdict", "reward", "terms", "judgement", "trace") if hasattr(record, name)}
    return Line(records[0], " and ".join(cls.__name__.lower() for cls in marked), records[0], **said)
