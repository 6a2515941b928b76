"""What people see, on standard error: messages, progress, warnings. Records never come this way."""

import contextlib
import logging
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

PLAIN_INTERVAL_SECONDS = 30.0


class Console:
    """Messages of one command. Colour and bars only on a terminal (rich honours NO_COLOR)."""

    def __init__(self, *, quiet: bool, verbose: bool) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self.terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not quiet
        log = logging.getLogger("sparkcli")
        log.handlers = [_Handler(self)]
        log.setLevel(logging.INFO if verbose else logging.WARNING)
        log.propagate = False

    def say(self, text: str) -> None:
        """One line, unless `-q`."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """A warning, unless `-q`."""
        self.say(f"sparkcli: warning: {text}")

    def show(self, renderable: Any) -> None:
        """A rich table or panel, unless `-q`."""
        if not self.quiet:
            from rich.console import Console as Rich

            Rich(stderr=True).print(renderable)

    @contextlib.contextmanager
    def progress(self, what: str, total: int | None = None, *, records: str) -> Iterator[Callable[[int], None]]:
        """A function that adds to a count: a bar on a terminal, else a line now and then.

        `records` is where the records go, as `-o` names it. On a terminal they would break the bar, and in a pipe the
        bar of the next command would.
        """
        if self.terminal and (records != "-" or _stdout_is_file()):
            with _bar(what, total) as advance:
                yield advance
            return
        started = last = time.monotonic()
        count = 0

        def count_up(more: int) -> None:
            nonlocal count, last
            count += more
            if time.monotonic() - last > PLAIN_INTERVAL_SECONDS:
                last = time.monotonic()
                self.say(f"{what}: {count}{f'/{total}' if total else ''} ({last - started:.0f} s)")

        yield count_up


def _stdout_is_file() -> bool:
    kind = os.fstat(sys.stdout.fileno()).st_mode
    return not stat.S_ISFIFO(kind) and not stat.S_ISSOCK(kind) and not sys.stdout.isatty()


@contextlib.contextmanager
def _bar(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    from rich.console import Console as Rich
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Rich(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=total)
        yield lambda more: bars.advance(task, more)


class _Handler(logging.Handler):
    """Warnings of the rooms below, as lines of the command."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        self.console.say(f"sparkcli: {prefix}{record.getMessage()}")
