"""A run directory: what is in it, who may write it, where a killed run goes on.

    recipe.toml        settings as resolved
    prompts.jsonl      training prompts, in the order of use
    heldout/           held-out prompts: solve, pointwise, pairwise, reflection, scaling
    steps/000001/      rollouts, scored, recycled, recycled-rollouts, recycled-scored, queue, evaluation
    policy/000001/     the policy after step 1
    queue.jsonl        recycled prompts waiting
    metrics.jsonl      a line a step
    timings.jsonl      seconds of each step: the only file that differs between two equal runs, with summary.json
    state.json         the last finished step; written last, so a step counts once it stands here
    summary.json       before and after
    lock               held while a loop works here

A step is done again from its start if it did not finish: everything it draws depends on the seed and its number alone.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from sparkcli.errors import InputError, UsageError
from sparkcli.files.jsonl import Output, decode, lines, read, write_atomic
from sparkcli.records import Prompt, R


@dataclass(frozen=True)
class RunFolder:
    """Paths and small files of a run directory."""

    path: Path

    def step(self, number: int) -> Path:
        """Folder of a step's records."""
        return self.path / "steps" / f"{number:06d}"

    def policy(self, number: int) -> Path | None:
        """The policy after a step; None before the first."""
        return self.path / "policy" / f"{number:06d}" if number else None

    @property
    def recipe(self) -> Path:
        """The settings of the run."""
        return self.path / "recipe.toml"

    @property
    def prompts(self) -> Path:
        """The training prompts."""
        return self.path / "prompts.jsonl"

    def finished_steps(self) -> int:
        """The last step that counts; 0 before the first."""
        state = self.path / "state.json"
        if not state.exists():
            return 0
        step = decode(state.read_bytes(), str(state)).get("step")
        if not isinstance(step, int):
            raise InputError(f"{state}: step: expected an integer, found {step!r}")
        return step

    def finish_step(self, number: int, metrics: dict[str, Any], seconds: dict[str, float]) -> None:
        """Makes a step count: its metrics, the queue that it left, then the state."""
        self._append("metrics.jsonl", number, metrics)
        self._append("timings.jsonl", number, seconds)
        write_atomic(self.path / "queue.jsonl", (self.step(number) / "queue.jsonl").read_bytes())
        self._write_json("state.json", {"step": number})

    def queue(self, number: int) -> list[Prompt]:
        """Recycled prompts that were waiting after a step."""
        return read_all(self.step(number) / "queue.jsonl", Prompt) if number else []

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`."""
        path = self.path / "metrics.jsonl"
        return [decode(line, place) for place, line in lines(str(path))] if path.exists() else []

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Before and after."""
        self._write_json("summary.json", summary)

    def prune(self, newest: int, keep: int) -> None:
        """Removes steps and policies older than the newest `keep`."""
        for parent in (self.path / "steps", self.path / "policy"):
            for old in parent.iterdir():
                if old.name.isdigit() and int(old.name) <= newest - keep:
                    shutil.rmtree(old)

    def _append(self, name: str, number: int, entry: dict[str, Any]) -> None:
        """Adds a step's line; lines of a step that did not finish, from this number on, give way."""
        path = self.path / name
        written = lines(str(path)) if path.exists() else ()
        before = [line for place, line in written if decode(line, place)["step"] < number]
        line = orjson.dumps({"step": number, **entry}, option=orjson.OPT_APPEND_NEWLINE)
        write_atomic(path, b"".join([*before, line]))

    def _write_json(self, name: str, value: dict[str, Any]) -> None:
        write_atomic(self.path / name, orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def read_all(path: Path, cls: type[R]) -> list[R]:
    """The records of a file that may hold none."""
    return list(read(str(path), cls)) if path.stat().st_size else []


def write_all(path: Path, records: Iterable[Prompt]) -> None:
    """Writes records to a file that appears whole."""
    with Output(str(path)) as sink:
        for record in records:
            sink.write(record)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a run directory; the kernel lets go of it when the process ends, however it ends.

    Raises:
        UsageError: another loop is at work there.
    """
    path.mkdir(parents=True, exist_ok=True)
    handle = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(handle, 32).decode().strip()
        os.close(handle)
        raise UsageError(f"{path}: another loop is at work here (process {holder}); wait for it or choose another -o"
                         ) from None
    os.ftruncate(handle, 0)
    os.write(handle, str(os.getpid()).encode())
    try:
        yield
    finally:
        os.ftruncate(handle, 0)
        os.close(handle)
