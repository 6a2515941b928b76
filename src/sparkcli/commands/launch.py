"""One command line in several processes of this machine, as one command.

Each process is told what accelerate and torch want to know (`RANK`, `WORLD_SIZE`, …), as `accelerate launch` would;
what is better here is how it ends. The first error is told, once, with its exit code; a process that fails takes the
others with it, and none outlives this one, even where it is killed. Standard input is copied, so that each reads it.
"""

import contextlib
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from sparkcli.commands.boundary import TOLD_IN
from sparkcli.commands.console import Console
from sparkcli.errors import SparkError, UsageError

LIFELINE = "SPARKCLI_LIFELINE"
"""Number of the open file at whose end a process ends too: the launcher is gone."""

INTERVAL_SECONDS = 0.05
SETTLING_SECONDS = 0.3
"""Left to the others when one failed: who was killed, or lost its peer, shows only then."""
GRACE_SECONDS = 1.0
"""Left to processes that are asked to end before they are killed."""
EXIT_SECONDS = 10.0
"""Waited at most for the exit code of a process that has told its error."""


def launched() -> int:
    """How many processes a launcher started, this one among them; 1: none did."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ and "LOCAL_RANK" in os.environ else 1


def is_first() -> bool:
    """Whether this process speaks for all."""
    return launched() == 1 or os.environ["RANK"] == "0"


def take_part(count: int, path: str, console: Console) -> None:
    """What one of several processes does before it works; alone, nothing.

    Raises:
        UsageError: `--num-processes` is not what the launcher started; standard input is to be read, which only this
            module's launcher copies.
    """
    if launched() == 1:
        return
    if LIFELINE in os.environ:
        threading.Thread(target=_end_with, args=(int(os.environ[LIFELINE]),), daemon=True).start()
    if not is_first():
        console.quiet, console.terminal = True, False
    if count not in (1, launched()):
        raise UsageError(f"--num-processes {count}: a launcher started {launched()} already; leave it out")
    if path == "-" and TOLD_IN not in os.environ:
        raise UsageError("standard input reaches only one of the processes; write it to a file, or start them with "
                         "--num-processes alone")
    check_readable(path)


def check_readable(path: str) -> None:
    """Raises UsageError where several processes could not each read all of `path`."""
    if path != "-" and os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
        raise UsageError(f"{path}: is a pipe, which only one of the processes could read; give a file, or - for "
                         "standard input")


def launch(count: int, *, stdin: bool) -> None:
    """Runs this very command line in `count` processes; returns when all are done.

    Args:
        stdin: whether the command reads standard input.

    Raises:
        SparkError: one of them failed, with what it told and its exit code.
    """
    with tempfile.TemporaryDirectory(prefix="sparkcli-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        if stdin:
            with (folder / "stdin").open("wb") as copy:
                shutil.copyfileobj(sys.stdin.buffer, copy)
        lifeline, end = os.pipe()  # nothing is ever written: the processes see the end of it
        stack.callback(os.close, end)
        shared = {**os.environ, **_meeting(count), TOLD_IN: name, LIFELINE: str(lifeline)}
        processes = stack.enter_context(_ending())
        for rank in range(count):
            with (folder / "stdin" if stdin else Path(os.devnull)).open("rb") as source:
                processes.append(subprocess.Popen(
                    [sys.executable, "-P", "-m", "sparkcli", *sys.argv[1:]], stdin=source, pass_fds=[lifeline],
                    stdout=subprocess.DEVNULL if rank else None,
                    env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}))
        os.close(lifeline)
        _wait(processes, folder)
        if any(process.returncode for process in processes) or _told(folder):
            raise _failure(processes, folder)


def _end_with(lifeline: int) -> None:
    os.read(lifeline, 1)
    shutil.rmtree(os.environ[TOLD_IN], ignore_errors=True)
    os._exit(SparkError.exit_code)


def _meeting(count: int) -> dict[str, str]:
    """Where the processes meet, and a fair share of the cores for each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threads = max(1, (os.cpu_count() or 1) // count)
    defaults = {"OMP_NUM_THREADS": str(threads), "TORCH_CPP_LOG_LEVEL": "ERROR"}
    return {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port), **{name: os.environ.get(name, value) for name, value in defaults.items()}}


@contextlib.contextmanager
def _ending() -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Processes that are put into the list; however this ends, they have ended too."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        yield processes
    finally:
        for process in processes:
            process.terminate()
        end = time.monotonic() + GRACE_SECONDS
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))
            process.kill()
            process.wait()


def _wait(processes: Sequence["subprocess.Popen[bytes]"], folder: Path) -> None:
    """Until all are done, or a moment after the first has failed."""
    while None in (codes := [process.poll() for process in processes]):
        if any(codes) or _told(folder):
            time.sleep(SETTLING_SECONDS)
            return
        time.sleep(INTERVAL_SECONDS)


def _told(folder: Path) -> list[Path]:
    """What processes had to tell, by rank."""
    return [path for path in folder.iterdir() if path.name.isdecimal()]


def _failure(processes: Sequence["subprocess.Popen[bytes]"], folder: Path) -> SparkError:
    """The error that came first: of a process that was killed, else what was told first. The others lost a peer."""
    codes = [process.poll() or 0 for process in processes]
    told = {int(path.name) for path in _told(folder)}
    for rank, code in enumerate(codes):
        if code < 0 and rank not in told:
            return SparkError(f"process {rank} of {len(codes)} was killed (signal {-code}); if memory ran out, lower "
                              "--tokens-per-batch")
    first = min(_told(folder), key=lambda path: path.stat().st_mtime_ns, default=None)
    if first is None:
        rank = next(rank for rank, code in enumerate(codes) if code)
        return SparkError(f"process {rank} of {len(codes)} ended with exit code {codes[rank]} and said nothing")
    error = SparkError(first.read_text(encoding="utf-8"))
    with contextlib.suppress(subprocess.TimeoutExpired):
        error.exit_code = processes[int(first.name)].wait(EXIT_SECONDS) or SparkError.exit_code
    return error
