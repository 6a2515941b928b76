"""A program with all processes that it starts, which this process reads, waits for and ends.

None of them outlives this process, however that ends: they are one process group, with a guardian in it.
"""

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from sparkcli.engines.vllm import guardian
from sparkcli.errors import SparkError

POLL_SECONDS = 0.2
READING_SECONDS = 1.0
"""Waited at most for the end of the output, which processes that left the group may hold open."""
KEPT_LINES = 400
TOLD_CHARACTERS = 300
PREFIX = re.compile(r"(\([^()]*\b(pid|rank)=[^()]*\) )?((DEBUG|INFO|WARNING|ERROR|CRITICAL) [\d:. -]+\[[^]]*] ?)?")
"""Of a line of vLLM's log: process, level, time, place."""
CAUSE = re.compile(r"[\w.]*(Error|Exception|Exit|Interrupt)\b.*?: \S|\S+: error: ")
"""How a line begins that says why Python ended: an exception, or what argparse prints."""
HINDSIGHT = ("root cause", "Engine core initialization failed")
"""In errors that only say that there was another before."""


class Child:
    """A running program. Its output is read as it comes, so that it never waits for a reader."""

    def __init__(self, process: "subprocess.Popen[str]", echo: Callable[[str], object] | None) -> None:
        self.process = process
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.echo = echo
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Returns once `ready` says so.

        Raises:
            SparkError: the program ended first, or was not ready in time; with its last words.
        """
        end = time.monotonic() + seconds
        while not ready():
            if self.process.poll() is not None:
                raise self.ended()
            if time.monotonic() > end:
                raise SparkError(f"vLLM was not ready after {seconds:g} s; {self.last_words()}")
            time.sleep(POLL_SECONDS)

    def ended(self) -> SparkError:
        """Waits until the program ends by itself, and says how."""
        code = self.process.wait()
        self.reader.join(READING_SECONDS)
        how = f"was killed (signal {-code})" if code < 0 else f"ended by itself (exit code {code})"
        return SparkError(f"vLLM {how}; {self.last_words()}")

    def last_words(self) -> str:
        """Why it ended, as far as its output tells, in a few words."""
        lines = [text for line in list(self.lines) if (text := PREFIX.sub("", line, count=1).rstrip())]
        causes = [number for number, line in enumerate(lines)
                  if CAUSE.match(line) and not any(word in line for word in HINDSIGHT)]
        first = causes[-1] if causes else max(0, len(lines) - 1)
        details = itertools.takewhile(lambda line: line[0].isspace(), lines[first + 1:])
        told = " ".join(" ".join([*lines[first:first + 1], *details]).split())[:TOLD_CHARACTERS]
        return f"it said last: {told or 'nothing'} (-v shows its log)"

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line)
                if self.echo:
                    self.echo(line)


@contextlib.contextmanager
def started(command: Sequence[str], environ: Mapping[str, str], *, echo: Callable[[str], object] | None = None
            ) -> Iterator[Child]:
    """Starts a program; however the block ends, all processes of the program have ended too.

    Signals of a terminal do not reach them: it is this process that ends them.

    Args:
        command: the program and its arguments.
        environ: its whole environment.
        echo: is called with each line of its output, in another thread.
    """
    group = subprocess.Popen([sys.executable, "-I", guardian.__file__], stdin=subprocess.PIPE,
                             stdout=subprocess.DEVNULL, process_group=0)
    child = process = None
    try:
        process = subprocess.Popen(command, env=dict(environ), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, process_group=group.pid, text=True, errors="replace")
        child = Child(process, echo)
        yield child
    finally:
        _end(group, process)
        if child is not None:
            child.reader.join(READING_SECONDS)


def _end(group: "subprocess.Popen[bytes]", process: "subprocess.Popen[str] | None") -> None:
    """Asks the group to end, and kills what is left of it after a while."""
    try:
        if process is not None:
            os.killpg(group.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(guardian.GRACE_SECONDS)
    finally:
        os.killpg(group.pid, signal.SIGKILL)
        group.communicate()
        if process is not None:
            process.wait()
