"""What comes with the package and needs no network: the built-in models and their tasks.

    builtin:tiny-math   arithmetic; 0.8 million parameters (tiny_math/)
"""

from pathlib import Path

from sparkcli.errors import UsageError, nearest

PREFIX = "builtin:"
CHECKPOINTS = {"tiny-math": Path(__file__).parent / "tiny_math" / "checkpoint"}
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
