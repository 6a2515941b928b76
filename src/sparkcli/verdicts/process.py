"""A worker process as its parent sees it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import orjson

from sparkcli.json_values import to_bytes
from sparkcli.verifiers.base import Finding, Options

_AHEAD = 2
"""Checks that a worker holds at most: the next one is there when it has done the first."""
_AHEAD_BYTES = 4096
"""A longer request waits until the worker reads it: a full pipe would stop the parent."""
_START_SECONDS = 60.0
"""For starting up and importing, which a check is not charged for."""


@dataclass(eq=False, slots=True)
class Check:
    """One comparison to be made, and its outcome."""

    name: str
    options: Options
    gold: str
    answer: str
    finding: Finding | None = None
    deaths: int = 0


class WorkerDiedError(Exception):
    """The process ended by itself, or somebody killed it."""


class Process:
    """One worker and the checks it was handed, the first of which is under way.

    It runs in a process group of its own, so that Ctrl-C reaches the parent only, and reads from a pipe that
    ends with the parent. It is started as a new program, never forked: the parent may hold threads.
    """

    def __init__(self, seconds: float, memory: int) -> None:
        self._seconds = seconds
        self._buffer = b""
        self._loaded: set[str] = set()
        self._loads_due = 0
        self.checks: deque[Check] = deque()
        self.deadline = 0.0
        self._popen = subprocess.Popen(
            [sys.executable, "-P", "-m", "sparkcli.verdicts.worker", str(seconds), str(memory)], bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)})

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._popen.pid

    def fileno(self) -> int:
        """What becomes readable when there is a reply, or the process has ended."""
        assert self._popen.stdout is not None
        return self._popen.stdout.fileno()

    def takes(self, check: Check) -> bool:
        """Whether the check can be handed over now, perhaps to wait its turn."""
        if not self.checks:
            return True
        is_known = check.name in self._loaded and not self._loads_due
        return is_known and len(self.checks) < _AHEAD and len(check.gold) + len(check.answer) < _AHEAD_BYTES // 8

    def start(self, check: Check) -> None:
        """Hands over a check; its clock runs from when it is the first and its verifier is loaded.

        Raises:
            WorkerDiedError: the process is gone.
        """
        requests: list[object] = [[check.name, dict(check.options), check.gold, check.answer]]
        if check.name not in self._loaded:
            self._loaded.add(check.name)
            self._loads_due = 1
            requests.insert(0, {"load": check.name})
        self.checks.append(check)
        if len(self.checks) == 1:
            self._set_deadline()
        self._write(b"".join(to_bytes(request, orjson.OPT_APPEND_NEWLINE) for request in requests))

    def receive(self) -> None:
        """Takes in the findings that are there. Call when readable.

        Raises:
            WorkerDiedError: the process is gone.
        """
        block = os.read(self.fileno(), 1 << 16)
        if not block:
            raise WorkerDiedError
        self._buffer += block
        *replies, self._buffer = self._buffer.split(b"\n")
        for reply in replies:
            if self._loads_due:
                self._loads_due = 0
            else:
                self.checks.popleft().finding = Finding(*json.loads(reply))
            self._set_deadline()

    def kill(self) -> None:
        """Ends the process at once, whatever it is doing, and what it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody there any more; so says macOS
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        for pipe in (self._popen.stdin, self._popen.stdout):
            assert pipe is not None
            pipe.close()

    def _set_deadline(self) -> None:
        self.deadline = time.monotonic() + (_START_SECONDS if self._loads_due else self._seconds)

    def _write(self, request: bytes) -> None:
        view = memoryview(request)
        assert self._popen.stdin is not None
        try:
            while view:
                view = view[self._popen.stdin.write(view):]
        except BrokenPipeError:
            raise WorkerDiedError from None
