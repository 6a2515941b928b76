"""Token ids and log-probs in a safetensors side file instead of inline, for large runs.

A shard holds three flat arrays, `prompt_token_ids` and `token_ids` (int32) and `logprobs` (float32). A rollout's
`tensors` names its slices: `FILE.safetensors#PROMPT_START:PROMPT_END,START:END`; a group shares its prompt's slice.
"""

import dataclasses
import functools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sparkcli.errors import InputError, SparkError, UsageError
from sparkcli.files.jsonl import commit
from sparkcli.records import TENSORS, G, Rollout

SHARD_TOKENS = 4_000_000
"""A shard is written once it holds this many tokens: 32 MB, and what a killed process can lose."""


class SideFile:
    """Moves arrays of rollouts into shards; what a rollout without all three has of them stays in the record.

    Groups are held back until the shard that they name is on disk.

    Raises:
        UsageError: the path cannot be that of a side file.
    """

    def __init__(self, path: str | None) -> None:
        self._path = _checked(Path(path)) if path else None
        self._held: list[list[Rollout]] = []
        self._tokens = 0

    def add(self, group: list[Rollout]) -> list[list[Rollout]]:
        """The groups that can be written now: this one at once where there is no side file."""
        if self._path is None:
            return [group]
        self._held.append(group)
        self._tokens += sum(len(r.token_ids or ()) for r in group)
        return self.flush() if self._tokens >= SHARD_TOKENS else []

    def flush(self) -> list[list[Rollout]]:
        """Writes what is held as a shard; returns the groups with references into it."""
        if self._path is None or not self._held:
            return []
        shard = _free_name(self._path)
        prompt_ids: list[int] = []
        token_ids: list[int] = []
        logprobs: list[float] = []
        moved = []
        for group in self._held:
            first = len(prompt_ids)
            prompt_ids += group[0].prompt_token_ids or ()
            for rollout in group:
                if rollout.prompt_token_ids is None or rollout.token_ids is None or rollout.logprobs is None:
                    moved.append(rollout)  # a slice stands for all three arrays
                    continue
                start = len(token_ids)
                token_ids += rollout.token_ids
                logprobs += rollout.logprobs
                name = f"{os.path.abspath(shard)}#{first}:{len(prompt_ids)},{start}:{len(token_ids)}"
                moved.append(dataclasses.replace(rollout, prompt_token_ids=None, token_ids=None, logprobs=None,
                                                 tensors=name))
        _save(shard, prompt_ids, token_ids, logprobs)
        sizes = [len(group) for group in self._held]
        self._held, self._tokens = [], 0
        flat = iter(moved)
        return [[next(flat) for _ in range(size)] for size in sizes]


def inline(rollouts: Iterable[G]) -> Iterator[G]:
    """Rollouts with their arrays, read from side files where they are there; streams.

    Raises:
        InputError: a reference is malformed, or its file is missing, damaged or too short.
    """
    for rollout in rollouts:
        yield rollout if rollout.tensors is None else _inlined(rollout)


def _inlined(rollout: G) -> G:
    where = f"rollout {rollout.id!r} sample {rollout.sample}: tensors"
    match = TENSORS.fullmatch(rollout.tensors or "")
    if match is None:
        raise InputError(f"{where}: expected FILE.safetensors#A:B,C:D, found {rollout.tensors!r}")
    p0, p1, t0, t1 = map(int, match.groups()[1:])
    try:
        arrays = _shard(match[1])
    except (OSError, ValueError) as error:
        raise InputError(f"{where}: {match[1]}: {error}") from None
    if p1 > len(arrays["prompt_token_ids"]) or t1 > len(arrays["token_ids"]):
        raise InputError(f"{where}: {match[1]} is shorter than the slice; is it the file of this rollout?")
    return dataclasses.replace(
        rollout, tensors=None, prompt_token_ids=tuple(arrays["prompt_token_ids"][p0:p1].tolist()),
        token_ids=tuple(arrays["token_ids"][t0:t1].tolist()), logprobs=tuple(arrays["logprobs"][t0:t1].tolist()))


@functools.lru_cache(maxsize=2)
def _shard(path: str) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"not a whole safetensors file ({error})") from None


def _save(path: Path, prompt_ids: list[int], token_ids: list[int], logprobs: list[float]) -> None:
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    temporary = path.with_name(f".{path.name}.partial")
    arrays = {"prompt_token_ids": np.asarray(prompt_ids, np.int32), "token_ids": np.asarray(token_ids, np.int32),
              "logprobs": np.asarray(logprobs, np.float32)}
    try:
        save_file(arrays, temporary)
        commit(temporary, path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise SparkError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from None


def _checked(path: Path) -> Path:
    if path.suffix != ".safetensors":
        raise UsageError(f"{path}: --tensors expects a name that ends in .safetensors")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}")
    return path


def _free_name(path: Path) -> Path:
    """`FILE.safetensors`, then `FILE-1.safetensors` and so on: a shard is never written over."""
    number = 0
    while (shard := path if number == 0 else path.with_name(f"{path.stem}-{number}{path.suffix}")).exists():
        number += 1
    return shard
