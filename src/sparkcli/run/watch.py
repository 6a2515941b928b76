"""What people see of a run: a live table on a terminal, plain lines elsewhere, the results at the end."""

import contextlib
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from sparkcli.bench.tables import percent, results_table

COLUMNS = ("step", "solve", "judge", "compare", "reflect", "mixed", "kl", "clip", "queue", "tokens", "seconds")
SHOWN = 16
"""Steps that the live table shows, newest last."""


class Lines:
    """A line per step on standard error."""

    def __init__(self, console: Console, steps: int) -> None:
        self.console = console
        self.steps = steps
        self.results: dict[str, Mapping[str, Any]] = {}

    def step(self, metrics: dict[str, Any], seconds: float) -> None:
        """A step is done."""
        cells = zip(COLUMNS[1:], _cells(metrics, seconds)[1:], strict=True)
        values = "  ".join(f"{name} {cell}" for name, cell in cells if cell)
        self._line(f"step {metrics['step']}/{self.steps}  {values}")

    def evaluated(self, when: str, results: dict[str, Any]) -> None:
        """An evaluation is done; the last one prints the table of results."""
        if not results:
            return
        if when in ("before", "after"):
            self.results[when] = results
        if when == "after":
            self.console.print(results_table(self.results))
        else:
            abilities = "  ".join(f"{name} {percent(value)}" for name, value in results["abilities"].items())
            self._line(f"held out, {when}, % right:  {abilities}")

    def _line(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


class LiveTable(Lines):
    """The last steps as a table that is drawn anew after each."""

    def __init__(self, console: Console, steps: int, live: Live) -> None:
        super().__init__(console, steps)
        self.live = live
        self.rows: deque[list[str]] = deque(maxlen=SHOWN)

    def step(self, metrics: dict[str, Any], seconds: float) -> None:
        """A step is done."""
        self.rows.append(_cells(metrics, seconds))
        table = Table(*COLUMNS, title=f"step {metrics['step']} of {self.steps}: mean rewards, then the update")
        for row in self.rows:
            table.add_row(*row)
        self.live.update(table, refresh=True)


@contextlib.contextmanager
def watching(*, terminal: bool, quiet: bool, steps: int) -> Iterator[Lines]:
    """A watcher for `run.loop.run`."""
    console = Console(stderr=True, quiet=quiet, width=None if terminal else 120)
    if not terminal:
        yield Lines(console, steps)
        return
    with Live(console=console, auto_refresh=False) as live:
        yield LiveTable(console, steps, live)


def _cells(metrics: Mapping[str, Any], seconds: float) -> list[str]:
    """A row of `COLUMNS`; empty where a step has no such value."""
    policy, recycled = metrics["policy"], metrics.get("recycled") or {}
    reward = {**policy["reward"], **recycled.get("reward", {})}
    groups = policy["groups"]
    updated = [phase for phase in (policy, recycled) if phase.get("updates")]
    return [str(metrics["step"]), *(_number(reward.get(task)) for task in ("solve", "judge", "compare", "reflect")),
            f"{groups['mixed']}/{sum(groups.values())}",
            _number(max((phase["kl"] for phase in updated), default=None), 4),
            _number(max((phase["clip_share"] for phase in updated), default=None), 3),
            str(metrics["queue"]), str(sum(phase.get("tokens", 0) for phase in (policy, recycled))), f"{seconds:.1f}"]


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"
