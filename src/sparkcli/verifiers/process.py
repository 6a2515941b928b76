"""A worker process as its parent sees it."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from sparkcli.verifiers.base import Finding, Options

MEMORY = 2 << 30
"""Bytes of address space of a worker."""
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
    """One worker with at most one check under way.

    It runs in a process group of its own, so that Ctrl-C reaches the parent only, and reads from a pipe that
    ends with the parent. It is started as a new program, never forked: the parent may hold threads.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._buffer = b""
        self._loaded: set[str] = set()
        self._replies_due = 0
        self.check: Check | None = None
        self.deadline = 0.0
        self._popen = subprocess.Popen(
            [sys.executable, "-P", "-m", "sparkcli.verifiers.worker", str(seconds), str(MEMORY)], bufsize=0,
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

    def start(self, check: Check) -> None:
        """Hands over a check; the clock runs from when its verifier is loaded.

        Raises:
            WorkerDiedError: the process is gone.
        """
        assert self.check is None
        self.check = check
        requests: list[object] = [] if check.name in self._loaded else [{"load": check.name}]
        self._loaded.add(check.name)
        requests.append([check.name, dict(check.options), check.gold, check.answer])
        self._replies_due = len(requests)
        self._set_deadline()
        self._write("".join(json.dumps(request) + "\n" for request in requests).encode())

    def receive(self) -> Finding | None:
        """The outcome of the check under way, or None while it is not there. Call when readable.

        Raises:
            WorkerDiedError: the process is gone.
        """
        block = os.read(self.fileno(), 1 << 16)
        if not block:
            raise WorkerDiedError
        self._buffer += block
        *replies, self._buffer = self._buffer.split(b"\n")
        for reply in replies:
            self._replies_due -= 1
            if self._replies_due == 0:
                self.check = None
                status, reason = json.loads(reply)
                return status, reason
            self._set_deadline()
        return None

    def kill(self) -> None:
        """Ends the process at once, whatever it is doing."""
        self._popen.kill()
        self._popen.wait()
        for pipe in (self._popen.stdin, self._popen.stdout):
            assert pipe is not None
            pipe.close()

    def _set_deadline(self) -> None:
        self.deadline = time.monotonic() + (self._seconds if self._replies_due == 1 else _START_SECONDS)

    def _write(self, request: bytes) -> None:
        view = memoryview(request)
        assert self._popen.stdin is not None
        try:
            while view:
                view = view[self._popen.stdin.write(view):]
        except BrokenPipeError:
            raise WorkerDiedError from None
