"""Programs that end with whoever started them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sparkcli.engines.vllm import guardian
from sparkcli.engines.vllm.child import started
from sparkcli.errors import SparkError

SLEEP = "import time; time.sleep(600)"
FAMILY = (f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', '{SLEEP}']); print('there', flush=True); "
          f"{SLEEP}")
"""A program that starts another."""
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('there', flush=True); {SLEEP}"

PARENT = """
import signal, sys
from sparkcli.engines.vllm.child import started
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup has it ignored, in all that it starts
with started([sys.executable, "-c", sys.argv[1]], {}) as child:
    child.wait_until(lambda: "there\\n" in child.lines, 20)
    print(child.process.pid, flush=True)
    child.process.wait()
"""


def python(source: str) -> list[str]:
    return [sys.executable, "-c", source]


def group(pid: int) -> list[int]:
    """The processes of a process group that have not ended."""
    listed = subprocess.run(["ps", "-eo", "pid,pgid,stat"], check=True, capture_output=True, text=True)
    rows = [line.split() for line in listed.stdout.splitlines()[1:]]
    return [int(row[0]) for row in rows if int(row[1]) == pid and not row[2].startswith("Z")]


def comes_true(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return true


def test_all_that_a_program_started_ends_with_the_block() -> None:
    with started(python(FAMILY), os.environ) as child:
        child.wait_until(lambda: "there\n" in child.lines, 20)
        number = os.getpgid(child.process.pid)
        assert number != os.getpgrp()  # a terminal's Ctrl-C is for us alone
        assert len(group(number)) == 3  # the guardian as well
    assert group(number) == []
    assert child.process.returncode == -signal.SIGTERM


def test_a_program_that_does_not_listen_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guardian, "GRACE_SECONDS", 0.2)
    with started(python(DEAF), os.environ) as child:
        child.wait_until(lambda: "there\n" in child.lines, 20)
    assert child.process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_nothing_outlives_a_parent_that_is_killed(number: signal.Signals) -> None:
    with subprocess.Popen([*python(PARENT), FAMILY], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        processes = os.getpgid(int(parent.stdout.readline()))
        parent.send_signal(number)
    assert comes_true(lambda: len(group(processes)) <= 1)  # the guardian waits for those that do not listen


def test_what_does_not_listen_is_killed_after_a_parent_as_well(tmp_path: Path) -> None:
    text = Path(guardian.__file__).read_text(encoding="utf-8").replace("GRACE_SECONDS = 10.0", "GRACE_SECONDS = 0.2")
    (tmp_path / "guardian.py").write_text(text, encoding="utf-8")
    with subprocess.Popen([sys.executable, "-I", tmp_path / "guardian.py"], stdin=subprocess.PIPE,
                          process_group=0) as first:
        deaf = subprocess.Popen(python(DEAF), process_group=first.pid, stdout=subprocess.PIPE)
        with deaf:
            assert deaf.stdout is not None
            assert deaf.stdout.readline() == b"there\n"
            assert first.stdin is not None
            first.stdin.close()
    assert (first.returncode, deaf.returncode) == (-signal.SIGKILL, -signal.SIGKILL)


@pytest.mark.parametrize(("source", "told"), [
    ("import sys; print('a\\nb'); sys.exit(3)", r"ended by itself \(exit code 3\); it said last: b \("),
    ("raise OSError(98, 'Address already in use')", "it said last: OSError: .Errno 98. Address already in use"),
    ("import os; os.kill(os.getpid(), 9)", r"was killed \(signal 9\); it said last: nothing"),
    ("print('(EngineCore pid=7) ERROR 11-23 17:31:58 [core.py:1510] ValueError: too long'); "
     "print('(APIServer pid=6) RuntimeError: Engine core initialization failed. See root cause above.')",
     "it said last: ValueError: too long [(]-v"),
    ("print('pydantic_core.ValidationError: 1 validation error for X\\n  Value error, n is too large\\nINFO: bye')",
     "ValidationError: 1 validation error for X Value error, n is too large [(]"),
    ("import argparse; argparse.ArgumentParser('entry.py').parse_args(['--x'])",
     "entry.py: error: unrecognized arguments: --x"),
])
def test_last_words(source: str, told: str) -> None:
    with started(python(source), os.environ) as child, pytest.raises(SparkError, match=told):
        child.wait_until(lambda: False, 20)


def test_what_is_not_ready_in_time_is_told() -> None:
    with started(python(SLEEP), os.environ) as child, pytest.raises(SparkError, match=r"not ready after 0\.1 s"):
        child.wait_until(lambda: False, 0.1)


def test_output_is_read_on_and_shown_where_asked_for() -> None:
    shown: list[str] = []
    with started(python("for i in range(5001): print('x' * 80)"), os.environ,
                 echo=shown.append) as child:
        assert child.process.wait(20) == 0
        child.reader.join()
    assert len(shown) > 5000
