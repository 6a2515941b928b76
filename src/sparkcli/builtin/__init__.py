"""What comes with the package and needs no network: the built-in models and their tasks.

    builtin:tiny-math     arithmetic; 0.8 million parameters (tiny_math/)
    builtin:tiny-vision   pictures to read off and to calculate with; a million parameters (tiny_vision/)

streams.py          tiers, splits, the hold-out
workings.py         written arithmetic: correct workings, and workings with one slip
demonstrations.py   what the warm start imitates: replies to every prompt wording
vocabulary.py       the tokenizers: bytes, and one token for each fixed phrase
warmstart.py        the training loop of the warm start
making.py           makes a checkpoint, and measures it
"""

import importlib
import typing
from collections.abc import Iterator
from pathlib import Path

from sparkcli.errors import UsageError, nearest
from sparkcli.records import Prompt

PREFIX = "builtin:"
TASKS = {"tiny-math": "tiny_math", "tiny-vision": "tiny_vision"}
"""The package of each built-in task."""
CHECKPOINTS = {name: Path(__file__).parent / package / "checkpoint" for name, package in TASKS.items()}
"""The Hugging Face folder of each built-in model."""


def checkpoint(name: str) -> Path:
    """The folder of `builtin:NAME`.

    Raises:
        UsageError: an unknown name, or an installation without the files.
    """
    known = {f"{PREFIX}{short}": folder for short, folder in CHECKPOINTS.items()}
    if name not in known:
        raise UsageError(f"model {name!r}: unknown{nearest(name, known)}")
    if not (known[name] / "config.json").is_file():
        raise UsageError(f"model {name!r}: its checkpoint is missing from this installation ({known[name]}); "
                         "install sparkcli again")
    return known[name]


def problems(source: str, split: str, seed: int, limit: int) -> Iterator[Prompt]:
    """Up to `limit` problems of `builtin:NAME` or `builtin:NAME/SPLIT`; `split` is the one to take where none is named.

    Raises:
        UsageError: an unknown name or split.
    """
    name, _, named = source.removeprefix(PREFIX).partition("/")
    if name not in TASKS:
        raise UsageError(f"{source}: no such built-in task{nearest(name, TASKS)}")
    task = importlib.import_module(f"{__name__}.{TASKS[name]}.task")
    splits = typing.get_args(task.Split)
    if (named or split) not in splits:
        raise UsageError(f"{source}: no split {named or split!r}{nearest(named or split, splits)}")
    made: Iterator[Prompt] = task.problems(named or split, seed, limit)
    return made
