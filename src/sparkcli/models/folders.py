"""Directories that appear whole or not at all."""

import ctypes
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from sparkcli.errors import SparkError, UsageError
from sparkcli.files.jsonl import sync
from sparkcli.models.fingerprint import OPTIMIZER_FILE, STATE_FILE

COPIED = (".json", ".jinja", ".txt", ".model", ".py")
"""Files of a model folder that go along with its weights: tokenizer, chat template, processor, generation settings."""

TOKENIZER = ("tokenizer", "chat_template", "special_tokens_map", "added_tokens", "vocab", "merges")
"""How the names of a tokenizer's files begin."""


@contextmanager
def whole_directory(directory: Path, marker: str) -> Iterator[Path]:
    """A temporary directory beside `directory` to write into; takes its place once everything is on the disk.

    An existing `directory` is replaced only if it is empty or holds `marker`, so that no foreign folder is ever
    deleted. The two change places in one step, and the old one is deleted last. Where the system cannot do that, the
    old one is moved aside first: a kill between the two renames leaves it as `.NAME.old-…`, never half of it.

    Raises:
        UsageError: see `check_replaceable`.
        SparkError: the disk is full, or does not let us write.
    """
    check_replaceable(directory, marker)
    directory = directory.resolve() if directory.is_symlink() else directory
    tag = secrets.token_hex(4)
    temporary = directory.parent / f".{directory.name}.tmp-{tag}"
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for path in [*sorted(temporary.rglob("*")), temporary]:
            if path.is_file():  # some libraries make files for their owner alone
                path.chmod(0o666 & ~_umask())
            sync(path)
        _replace(temporary, directory, directory.parent / f".{directory.name}.old-{tag}")
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SparkError(f"{directory}: cannot be written ({reason}); nothing was changed") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _replace(temporary: Path, directory: Path, aside: Path) -> None:
    if directory.exists():
        if _exchanged(temporary, directory):
            sync(directory.parent)
            return
        directory.rename(aside)
    try:
        temporary.rename(directory)
    except OSError:
        if aside.exists():
            aside.rename(directory)
        raise
    sync(directory.parent)
    if aside.exists():
        shutil.rmtree(aside)


def _exchanged(first: Path, second: Path) -> bool:
    """Whether two directories have changed places, in one step: Linux, on most file systems, but not on NFS."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return renameat2 is not None and renameat2(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0


def check_replaceable(directory: Path, marker: str) -> None:
    """Returns where `whole_directory` may write; for those who want to know before hours of work.

    Raises:
        UsageError: `directory` exists and is something else, or the folder that it would be in cannot be written to.
    """
    above = next(folder for folder in directory.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        reason = "no folder" if not above.is_dir() else "not yours to write in"
        raise UsageError(f"{directory}: cannot be written, {above} is {reason}; give another directory")
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory}: is a file; give a directory to write")
    if directory.is_dir() and any(directory.iterdir()) and not (directory / marker).exists():
        raise UsageError(f"{directory}: exists and holds something else (no {marker} in it); give another directory")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """JSON with sorted keys, so that equal values are equal bytes."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def write_index(folder: Path) -> None:
    """Names the weights of a full model where one file holds them: vLLM takes every other safetensors file in the
    folder, an optimiser's state as well, for more of them."""
    index, weights = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if not index.exists():
        with safe_open(weights, "pt") as tensors:
            write_json(index, {"metadata": {}, "weight_map": dict.fromkeys(tensors.keys(), weights.name)})


def copy_companions(source: Path, target: Path, beginnings: tuple[str, ...] = ("",)) -> None:
    """Copies what goes along with the weights of a model folder, and is not in `target` yet.

    Args:
        beginnings: of the names of the files that count.
    """
    for path in sorted(source.iterdir()):
        ours = path.name in (STATE_FILE, OPTIMIZER_FILE) or path.name.endswith(".index.json")
        wanted = path.suffix in COPIED and path.name.startswith(beginnings) and not ours
        if wanted and path.is_file() and not (target / path.name).exists():
            shutil.copyfile(path, target / path.name)
