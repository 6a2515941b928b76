"""A run directory: what is in it, who may write it, where a killed run goes on.

    recipe.toml        settings as resolved; written first, so that it makes a directory a run
    prompts.jsonl      training prompts, in the order of use
    images/            images of prompts that their source holds as bytes or names by URLs
    heldout/           held-out items by ability, and the results of the evaluations before and after
    steps/000001/      rollouts, scored, recycled, again-rollouts, again-scored (of recycled prompts), queue
    policy/000001/     the policy after step 1
    queue.jsonl        recycled prompts waiting
    metrics.jsonl      a line a step
    timings.jsonl      seconds: with those in summary.json all that differs between two equal runs
    state.json         the last finished step; written last, so a step counts once it stands here
    summary.json       before and after
    lock               held while a loop works here

A step is done again from its start if it did not finish: everything it draws depends on the seed and its number alone.
"""

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from sparkcli.errors import InputError, UsageError
from sparkcli.files.jsonl import Output, decode, lines, read, write_atomic
from sparkcli.records import Prompt, R

_LEFTOVER = re.compile(r"\..+\.(partial|(tmp|old)-[0-9a-f]+)")
"""Temporary names of files and policies that were being written."""


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

    @property
    def images(self) -> Path:
        """Folder of images that are no files elsewhere; there before the run is one."""
        return self.path / "images"

    @property
    def heldout(self) -> Path:
        """Folder of the held-out items and results."""
        return self.path / "heldout"

    def check_free_or_run(self) -> None:
        """Raises UsageError where there is something that no loop has written: it must not be mixed with a run."""
        if self.path.is_dir() and not self.recipe.exists():
            foreign = [entry.name for entry in self.path.iterdir()
                       if entry.name not in ("lock", "images") and not _LEFTOVER.fullmatch(entry.name)]
            if foreign:
                raise UsageError(f"{self.path}: holds {min(foreign)!r} but no recipe.toml, so it is no run; "
                                 "choose another -o")

    def tidy(self, keep: int) -> None:
        """Makes the folders of a run, and removes what a killed one left: temporary files, what the step under way
        has written, and steps that are kept no longer."""
        done = self.finished_steps()
        for parent in (self.path, self.path / "steps", self.path / "policy", self.heldout):
            parent.mkdir(exist_ok=True)
            for entry in list(parent.iterdir()):
                if _LEFTOVER.fullmatch(entry.name) or (entry.name.isdigit() and int(entry.name) > done):
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        self.prune(done, keep)

    def finished_steps(self) -> int:
        """The last step that counts; 0 before the first."""
        state = self.path / "state.json"
        if not state.exists():
            return 0
        value = decode(state.read_bytes(), str(state))
        step = value.get("step") if isinstance(value, dict) else value
        if not isinstance(step, int):
            raise InputError(f"{state}: step: expected an integer, found {step!r}")
        return step

    def finish_step(self, number: int, metrics: dict[str, Any], seconds: dict[str, float]) -> None:
        """Makes a step count: its metrics, the queue that it left, then the state."""
        self._append("metrics.jsonl", {"step": number, **metrics}, earlier_than=number)
        self._append("timings.jsonl", {"step": number, **seconds}, earlier_than=number)
        write_atomic(self.path / "queue.jsonl", (self.step(number) / "queue.jsonl").read_bytes())
        self._write_json("state.json", {"step": number})

    def queue(self, number: int) -> list[Prompt]:
        """Recycled prompts that were waiting after a step."""
        return read_all(self.step(number) / "queue.jsonl", Prompt) if number else []

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`."""
        return [entry for entry, _ in self._lines("metrics.jsonl")]

    def timings(self) -> list[dict[str, Any]]:
        """The lines of `timings.jsonl`: seconds of the parts of a step, and of evaluations."""
        return [entry for entry, _ in self._lines("timings.jsonl")]

    def note_evaluation(self, when: str, step: int, seconds: float) -> None:
        """Adds the time of an evaluation, `before` or `after`, to the timings."""
        self._append("timings.jsonl", {"step": step, when: seconds}, earlier_than=step + 1)

    def seconds(self) -> float:
        """Time of all steps and evaluations, over all processes that worked on the run."""
        return sum(sum(entry.get(part, 0.0) for part in ("before", "all", "after")) for entry in self.timings())

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Before and after."""
        self._write_json("summary.json", summary)

    def prune(self, newest: int, keep: int) -> None:
        """Removes steps and policies older than the newest `keep`."""
        for parent in (self.path / "steps", self.path / "policy"):
            for old in list(parent.iterdir()):
                if old.name.isdigit() and int(old.name) <= newest - keep:
                    shutil.rmtree(old)

    def _lines(self, name: str) -> Iterator[tuple[dict[str, Any], bytes]]:
        path = self.path / name
        for place, line in lines(str(path)) if path.exists() else ():
            yield decode(line, place), line

    def _append(self, name: str, entry: dict[str, Any], earlier_than: int) -> None:
        """Adds a line; those of later steps, which did not finish, give way."""
        before = [line for earlier, line in self._lines(name) if earlier["step"] < earlier_than]
        write_atomic(self.path / name, b"".join([*before, orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)]))

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
    """Holds a run directory, made if need be; the kernel lets go of it when the process ends, however it ends.

    Raises:
        UsageError: another loop is at work there, or no directory can be made there.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        handle = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UsageError(f"{path}: cannot be a run directory: {error.strerror}; choose another -o") from None
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
