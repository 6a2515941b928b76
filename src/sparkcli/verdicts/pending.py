"""What was read from a completion, and a finding that may still be on its way from a worker."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Union

from sparkcli.method.answers import Reading
from sparkcli.verdicts.process import Check
from sparkcli.verifiers.base import Finding
from sparkcli.verifiers.combine import Combination, combined
from sparkcli.verifiers.registry import Chosen, Single


@dataclass(frozen=True, slots=True)
class Pending:
    """Of one verifier. `made`: the finding if it was made at once, else the check that a worker makes."""

    chosen: Single
    reading: Reading | None
    made: Finding | Check

    @property
    def name(self) -> str:
        """As verdicts give it."""
        return self.chosen.verifier.name

    @property
    def extracted(self) -> str | None:
        """The answer as it stands in the verdict."""
        return None if self.reading is None or self.reading.is_whole else self.reading.text

    @property
    def finding(self) -> Finding | None:
        """None until it is made."""
        return self.made.finding if isinstance(self.made, Check) else self.made

    @property
    def checks(self) -> Iterator[Check]:
        """What workers make of it."""
        if isinstance(self.made, Check):
            yield self.made

    def explained(self, gold: str) -> Iterator[str]:
        """How the finding came about, in lines for people."""
        options = ", ".join(f"{name}={value!r}" for name, value in self.chosen.options.items())
        yield f"verifier    {self.name}{f' ({options})' if options else ''}"
        if self.reading is not None:
            yield f"read        {shown(self.reading.text)}, from {self.reading.how}"
            if self.finding is not None and self.finding.reward is not None:
                yield from self.chosen.verifier.notes(gold, self.reading.text, self.chosen.options)
        if self.finding is not None:
            place = "by a worker" if isinstance(self.made, Check) else "at once"
            yield f"found       {self.finding.status}, {place}: {self.finding.reason}"


@dataclass(frozen=True, slots=True)
class PendingParts:
    """Of a combination; the same as `Pending` for all its parts."""

    combination: Combination[Chosen]
    parts: tuple[Union[Pending, "PendingParts"], ...]

    @property
    def name(self) -> str:
        """As verdicts give it: `all(math, regex)`."""
        return f"{self.combination.kind}({', '.join(part.name for part in self.parts)})"

    @property
    def extracted(self) -> str | None:
        """The answer that the first part has that has one."""
        return next((part.extracted for part in self.parts if part.extracted is not None), None)

    @property
    def finding(self) -> Finding | None:
        """None until those of all parts are made."""
        findings = [finding for part in self.parts if (finding := part.finding) is not None]
        if len(findings) < len(self.parts):
            return None
        return combined(self.combination.kind, findings, self.combination.weights, [part.name for part in self.parts])

    @property
    def checks(self) -> Iterator[Check]:
        """What workers make of it."""
        for part in self.parts:
            yield from part.checks

    def explained(self, gold: str) -> Iterator[str]:
        """How the finding came about, in lines for people: part by part, then the combination."""
        for part in self.parts:
            yield from part.explained(gold)
        if self.finding is not None:
            yield f"combined    {self.name}: {self.finding.status}"


def shown(text: str, most: int = 200) -> str:
    """Text on one line, as Python would write it, cut in the middle where it is long."""
    short = text if len(text) <= most else f"{text[:most // 2]} … {text[-most // 2:]}"
    return repr(short)
