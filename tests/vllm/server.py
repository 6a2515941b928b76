"""Real servers for tests: `sparkcli serve` in processes of its own, on free ports.

Starting one takes half a minute on a quiet machine and up to 3 GB, so tests share them: `servers(folder)` is running
when it returns, is the same for the same arguments, and ends with the session.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

QUIET = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1",
         "TORCH_COMPILE_DISABLE": "1"}
"""On a machine that is shared: little memory, one thread, and not all servers on the same core."""
START_SECONDS = 300.0
END_SECONDS = 60.0


@dataclass(frozen=True)
class Server:
    """A running `sparkcli serve`."""

    process: "subprocess.Popen[bytes]"
    base_url: str
    model: str
    policy: str | None
    log: Path

    @property
    def port(self) -> int:
        return int(self.base_url.rsplit(":", 1)[1].partition("/")[0])

    @property
    def vllm(self) -> int:
        """Process id of vLLM's own server."""
        return next(pid for pid in children(self.process.pid) if b"vllm.entrypoints" in words(pid))

    def said(self) -> str:
        """Its standard error."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """SIGKILL to vLLM's server; returns when the command has ended too, and nothing listens any more."""
        os.kill(self.vllm, signal.SIGKILL)
        self.process.wait(END_SECONDS)

    def end(self) -> int:
        """Ends it as a user would, and returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(END_SECONDS)


@contextlib.contextmanager
def serving(model: Path | str, *arguments: str, log: Path) -> Iterator[Server]:
    """`sparkcli serve -m MODEL ARGUMENTS`, healthy; `--port 0` unless another is given. Its log goes to `log`."""
    port = () if "--port" in arguments else ("--port", "0")
    command = [sys.executable, "-m", "sparkcli", "serve", "-v", "-m", str(model), *port, *arguments]
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env={**os.environ, **QUIET})
    try:
        about = first_line(process, log)
        yield Server(process, about["base_url"], about["model"], about.get("policy"), log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(END_SECONDS)
        assert process.stdout is not None
        process.stdout.close()


def first_line(process: "subprocess.Popen[bytes]", log: Path) -> dict[str, Any]:
    """What the command prints when the server is healthy."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
    line = process.stdout.readline() if ready else b""
    assert line, f"no server after {START_SECONDS} s:\n{log.read_text(errors='replace')[-4000:]}"
    return dict(json.loads(line))


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """`servers(folder, "--max-lora-rank", "16")`: a server that is shared by all who ask for the same."""
    folder = tmp_path_factory.mktemp("servers")
    running: dict[tuple[str, ...], Server] = {}
    with contextlib.ExitStack() as stack:

        def get(model: Path | str, *arguments: str) -> Server:
            key = (str(model), *arguments)
            if key not in running or running[key].process.poll() is not None:
                log = folder / f"{len(list(folder.iterdir()))}.log"
                running[key] = stack.enter_context(serving(model, *arguments, log=log))
            return running[key]

        yield get


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, with those that they have started, and so on."""
    found = children(pid)
    for child in found:
        with contextlib.suppress(FileNotFoundError):
            found.extend(children(child))
    return found


def words(pid: int) -> bytes:
    """The command line of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def is_alive(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition came true in time."""
    end = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return true
