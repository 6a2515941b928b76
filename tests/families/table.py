"""The table of families in `docs/models.md`: made from what the checks found, and compared with it by the test.

Run as `python -m tests.families.table` to write it anew.
"""

import multiprocessing
import re
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.families.checks import Findings, examine
from tests.families.configurations import FAMILIES, NOT_BUILT

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
HEAD = "| family | sampling | training | adapter, exported |\n|---|---|---|---|\n"
ROW = re.compile(r"^\| `([\w.-]+)` \| (.*) \| (.*) \| (.*) \|$", re.MULTILINE)

TRAINING = {"packed": "packed", "shared": "prompts shared", "unshared": "whole sequences"}


@dataclass(frozen=True)
class Row:
    """What the page says of a family."""

    family: str
    sampling: str
    training: str
    adapter: str

    def __str__(self) -> str:
        return f"| `{self.family}` | {self.sampling} | {self.training} | {self.adapter} |"


def row_of(found: Findings) -> Row:
    """A family's row."""

    def cell(right: str | None, *checks: str) -> str:
        for check in checks:
            if check in found.refused:
                reason = found.refused[check].removeprefix(f"{found.model_type}: ")
                return "refused: " + re.sub(r" by [\d.e-]+(?=[;,])", "", reason)  # how far off it is varies
        return right or "–"

    return Row(found.family, cell(found.sampling, "greedy", "log-probs"),
               cell(TRAINING.get(found.training or ""), "training"),
               cell("exact", "export") if found.training else "–")


def written() -> dict[str, Row]:
    """The rows that the page has."""
    return {row[1]: Row(*row.groups()) for row in ROW.finditer(PAGE.read_text(encoding="utf-8"))}


def write(rows: Iterable[Row]) -> None:
    """Puts rows, and families that were not tried, in the place of those that the page has."""
    before, _, after = PAGE.read_text(encoding="utf-8").partition(HEAD)
    rest = "".join(after.partition("\n\n")[1:])
    lines = {row.family: str(row) for row in rows} | {
        family: f"| `{family}` | not tried: {reason} | – | – |" for family, reason in NOT_BUILT.items()}
    PAGE.write_text(before + HEAD + "\n".join(lines[family] for family in sorted(lines)) + (rest or "\n"),
                    encoding="utf-8")


def _row(family: str) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        return row_of(examine(family, Path(folder)))


if __name__ == "__main__":
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        write(pool.map(_row, FAMILIES))
