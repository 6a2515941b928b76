"""What comes with the package and needs no network: the built-in models and their tasks.

    builtin:tiny-math   arithmetic; 0.8 million parameters (tiny_math/)
"""

from pathlib import Path

from sparkcli.errors import UsageError, nearest

PREFIX = "builtin:"
_CHECKPOINTS = {"tiny-math": Path(__file__).parent / "tiny_math" / "checkpoint"}


def checkpoint(name: str) -> Path:
    """The Hugging Face folder of a built-in model, named with or without the prefix `builtin:`.

    Raises UsageError for an unknown name.
    """
    short = name.removeprefix(PREFIX)
    if short not in _CHECKPOINTS:
        raise UsageError(f"no built-in model {name!r}{nearest(short, _CHECKPOINTS)}")
    return _CHECKPOINTS[short]
