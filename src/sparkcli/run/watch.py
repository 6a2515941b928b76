"""What people see of a run: a live table on a terminal, plain lines elsewhere, the results at the end."""

import contextlib
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from sparkcli.bench.tables import percent, results_table
from sparkcli.training.samples import idle_reason

COLUMNS = ("step", "solve", "judge", "compare", "reflect", "signal", "kl", "clipped", "queue", "s")
"""Mean reward by task; groups that carry a signal, of all; KL to the base; share of clipped tokens; recycled
prompts waiting; seconds."""
SHOWN = 12
"""Steps that the live table shows, newest last."""
PLAIN_WIDTH = 100


class Lines:
    """A line per step on standard error."""

    def __init__(self, console: Console, steps: int) -> None:
        self.console = console
        self.steps = steps

    def begins(self, what: str) -> None:
        """What is under way; only what takes long and says nothing else gets a line."""
        if what.startswith("evaluation "):
            self._line(f"{what} on held-out problems ...")

    def samples_with(self, engine: str, why: str) -> None:
        """Which engine samples."""
        self._line(f"engine: {engine} ({why})")

    def step(self, metrics: dict[str, Any], seconds: float) -> None:
        """A step is done."""
        cells = zip(COLUMNS[1:-1], _cells(metrics, seconds)[1:-1], strict=True)
        values = "  ".join(f"{name} {cell}" for name, cell in cells if cell)
        self._line(f"step {metrics['step']}/{self.steps}  {values}  {seconds:.1f} s")
        if not metrics["policy"]["updates"]:
            self._line(f"step {metrics['step']}: nothing to learn from: {idle_reason(metrics['policy'])}")

    def evaluated(self, when: str, results: dict[str, Any]) -> None:
        """An evaluation is done; the results after the last step wait for the table at the end."""
        if results and when != "after":
            values = ", ".join(f"{name.removesuffix('_reflection')} {percent(value).partition(' ')[0]}"
                               for name, value in results["abilities"].items())
            self._line(f"{when}: {values} %")

    def finished(self, summary: dict[str, Any]) -> None:
        """The table of results, and where the policy is."""
        results = {when: {"abilities": summary[when], "scaling": summary["scaling"][when]}
                   for when in ("before", "after")}
        if summary["after"]:
            self.console.print(results_table(results))
        self._line(f"{summary['steps']} steps, {summary['updates']} updates, {summary['seconds']:.0f} s; "
                   f"policy: {summary['policy']}")
        if not summary["updates"]:
            self._line("nothing was learnt: no step had anything to learn from, and the policy equals the model")

    def _line(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


class LiveTable(Lines):
    """The last steps as a table, and under it what is under way; drawn anew whenever one of them changes."""

    def __init__(self, console: Console, steps: int, live: Live) -> None:
        super().__init__(console, steps)
        self.live = live
        self.rows: deque[list[str]] = deque(maxlen=SHOWN)
        self.started = time.monotonic()
        self.under_way = ""

    def begins(self, what: str) -> None:
        """What is under way, in the last line."""
        self.under_way = what.replace("again-", "recycled ")
        self._draw()

    def step(self, metrics: dict[str, Any], seconds: float) -> None:
        """A step is done."""
        self.rows.append(_cells(metrics, seconds))
        self._draw()

    def finished(self, summary: dict[str, Any]) -> None:
        """The live part goes; the results stay."""
        self.live.update("", refresh=True)
        super().finished(summary)

    def _draw(self) -> None:
        minutes, seconds = divmod(int(time.monotonic() - self.started), 60)
        done = self.rows[-1][0] if self.rows else "0"
        caption = f"{done} of {self.steps} steps, {minutes}:{seconds:02d}, {self.under_way}"
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title="mean rewards of the samples, and the updates",
                      caption=escape(caption), caption_justify="left", title_justify="left")
        for name in COLUMNS:
            table.add_column(name, justify="right", no_wrap=True)
        for row in self.rows:
            table.add_row(*row)
        self.live.update(table if self.rows else caption, refresh=True)


@contextlib.contextmanager
def watching(*, terminal: bool, quiet: bool, steps: int) -> Iterator[Lines]:
    """A watcher for `run.loop.run`."""
    console = Console(stderr=True, quiet=quiet, width=None if terminal else PLAIN_WIDTH)
    if not terminal:
        yield Lines(console, steps)
        return
    with Live(console=console, auto_refresh=False) as live:
        yield LiveTable(console, steps, live)


def _cells(metrics: Mapping[str, Any], seconds: float) -> list[str]:
    """A row of `COLUMNS`; empty where a step has no such value."""
    policy, recycled = metrics["policy"], metrics.get("recycled") or {}
    reward = {**policy["reward"], **recycled.get("reward", {})}
    updated = [phase for phase in (policy, recycled) if phase.get("updates")]
    return [str(metrics["step"]), *(_number(reward.get(task)) for task in ("solve", "judge", "compare", "reflect")),
            f"{policy['groups_with_signal']}/{sum(policy['groups'].values())}",
            _number(max((phase["kl"] for phase in updated), default=None), 4),
            _number(max((phase["clip_share"] for phase in updated), default=None), 3),
            str(metrics["queue"]), f"{seconds:.1f}"]


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"
