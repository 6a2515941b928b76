"""Directories that appear whole or not at all."""

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from sparkcli.errors import SparkError, UsageError
from sparkcli.files.jsonl import sync
from sparkcli.models.fingerprint import OPTIMIZER_FILE, STATE_FILE

COPIED = (".json", ".jinja", ".txt", ".model", ".py")
"""Files of a model folder that go along with its weights: tokenizer, chat template, processor, generation settings."""


@contextmanager
def whole_directory(directory: Path, marker: str) -> Iterator[Path]:
    """A temporary directory beside `directory` to write into; takes its place once everything is on the disk.

    An existing `directory` is replaced only if it is empty or holds `marker`, so that no foreign folder is ever
    deleted. It is moved aside first and deleted last: a kill between the two renames leaves it as `.NAME.old-…`, never
    half of it.

    Raises:
        UsageError: `directory` exists and is something else.
        SparkError: the disk is full, or does not let us write.
    """
    check_replaceable(directory, marker)
    tag = secrets.token_hex(4)
    temporary = directory.parent / f".{directory.name}.tmp-{tag}"
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for path in [*sorted(temporary.rglob("*")), temporary]:
            sync(path)
        _replace(temporary, directory, directory.parent / f".{directory.name}.old-{tag}")
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SparkError(f"{directory}: cannot be written ({reason}); nothing was changed") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace(temporary: Path, directory: Path, aside: Path) -> None:
    if directory.exists():
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


def check_replaceable(directory: Path, marker: str) -> None:
    """Returns where `whole_directory` may write; for those who want to know before hours of work.

    Raises:
        UsageError: `directory` exists and is something else.
    """
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory}: is a file; give a directory to write")
    if directory.is_dir() and any(directory.iterdir()) and not (directory / marker).exists():
        raise UsageError(f"{directory}: exists and holds something else (no {marker} in it); give another directory")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """JSON with sorted keys, so that equal values are equal bytes."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def copy_companions(source: Path, target: Path) -> None:
    """Copies what goes along with the weights of a model folder, and is not in `target` yet."""
    for path in sorted(source.iterdir()):
        ours = path.name in (STATE_FILE, OPTIMIZER_FILE) or path.name.endswith(".index.json")
        if path.is_file() and path.suffix in COPIED and not ours and not (target / path.name).exists():
            shutil.copyfile(path, target / path.name)
