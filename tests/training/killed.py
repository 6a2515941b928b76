"""Runs a `train-step` in child processes that die by SIGKILL, and says what each of them left behind.

    python -m tests.training.killed FOLDER SEED DEATHS ARGUMENTS…

The command runs in FOLDER/work, a fresh copy of FOLDER/before for each child; ARGUMENTS write the policy `out`. First
children that live, to measure; then DEATHS children that die, in turn

- at a moment drawn from the whole life of the first,
- at a moment drawn from the time that it took to write: from the instant the temporary directory is seen, and
- just before one of its file operations from there on, drawn as well.

Each child is a process of its own that runs the program's `main`; it is forked from this one, so that torch is imported
once. One that gets to its end before it was to die does not count. Every sixth death and the last are followed by a
child that lives, in the folder as it is. Prints a JSON line a child: how it was to die, its exit code (negative: the
signal), and the digest of every file in FOLDER/work.
"""

import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sparkcli.training.step  # noqa: F401 - what takes seconds is imported before the forks
from sparkcli.commands.main import main as program

OPERATIONS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"}
TEMPORARY = ".out.tmp-"
POLL_SECONDS = 2e-4


@dataclass(frozen=True)
class Death:
    """`life`: so many seconds after the start; `writing`: after the temporary directory is there; `operation`: before
    that file operation."""

    kind: str
    when: float


@dataclass(frozen=True)
class Life:
    """How long a child takes that nobody kills: all of it, its writing, and the file operations of that."""

    seconds: float
    writing: float
    operations: int


def digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}


def child(arguments: list[str], work: Path, death: Death | None) -> int:
    """Starts the program in a process of its own; returns its id."""
    pid = os.fork()
    if pid:
        return pid
    os.chdir(work)
    count = watch_operations(int(death.when) if death and death.kind == "operation" else None)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    sys.argv = ["sparkcli", *arguments]
    try:
        program()
    except SystemExit as end:
        (work.parent / "operations").write_text(str(next(count)))
        os._exit(int(end.code or 0))
    os._exit(0)


def watch_operations(last: int | None) -> Iterator[int]:
    """Counts file operations from the making of the temporary directory on; dies just before the `last`-th."""
    count = itertools.count()
    begun = False

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal begun
        begun = begun or (event == "os.mkdir" and TEMPORARY in str(arguments[0]))
        if begun and event in OPERATIONS and next(count) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    return count


def run(arguments: list[str], work: Path, death: Death | None) -> tuple[int, float, float]:
    """A child's exit code, its seconds, and those since its temporary directory was seen."""
    started = time.monotonic()
    pid, writing = child(arguments, work, death), None
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        now = time.monotonic()
        if ended:
            return os.waitstatus_to_exitcode(status), now - started, now - (writing or now)
        if writing is None and any(name.startswith(TEMPORARY) for name in os.listdir(work)):
            writing = now
        since = {"life": started, "writing": writing}.get(death.kind) if death else None
        if death and since is not None and now - since >= death.when:
            os.kill(pid, signal.SIGKILL)
            death = None
        time.sleep(POLL_SECONDS)


def deaths(life: Life, seed: int) -> Iterator[Death]:
    draw = random.Random(seed)
    while True:
        yield Death("life", draw.uniform(0, life.seconds))
        yield Death("writing", draw.uniform(0, life.writing))
        yield Death("operation", draw.randrange(life.operations))


def tell(work: Path, death: Death | None, code: int) -> None:
    how = [death.kind, death.when] if death else None
    print(json.dumps({"death": how, "code": code, "files": digests(work)}), flush=True)


def main() -> None:
    folder, (seed, count), arguments = Path(sys.argv[1]), map(int, sys.argv[2:4]), sys.argv[4:]
    before, work = folder / "before", folder / "work"

    def fresh() -> None:
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(before, work)

    fresh()
    code, _, _ = run(arguments, work, None)
    tell(work, None, code)
    fresh()
    _, seconds, writing = run(arguments, work, None)  # the first takes longer
    life = Life(seconds, writing, int((folder / "operations").read_text()))
    killed = 0
    for death in itertools.islice(deaths(life, seed), 3 * count):
        fresh()
        code, _, _ = run(arguments, work, death)
        tell(work, death, code)
        killed += code == -signal.SIGKILL
        if code == -signal.SIGKILL and (killed % 6 == 0 or killed == count):
            tell(work, None, run(arguments, work, None)[0])
        if killed == count:
            break


if __name__ == "__main__":
    main()
