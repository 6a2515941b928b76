"""The one tree of errors. Each class carries the exit code it ends the program with.

    SparkError            1  failed while running
    ├── UsageError        2  bad flags, recipe, model name or directory
    ├── InputError        3  bad input data (names file:line: field)
    └── GateError         4  a gate not met (share of unknown verdicts, benchmark threshold)

130 (interrupted) and quiet ends on a closed pipe are the command line's business: `commands/main.py`.
A message is one line: what was wrong, where, what to try.
"""

import difflib
from collections.abc import Iterable


class SparkError(Exception):
    """Something failed while running."""

    exit_code = 1


class UsageError(SparkError):
    """The command line, a recipe, or a model or policy it names cannot be used."""

    exit_code = 2


class InputError(SparkError):
    """Input data is not what the stage reads."""

    exit_code = 3


class GateError(SparkError):
    """The work was done, but a limit that the user set was not met."""

    exit_code = 4


def nearest(word: str, known: Iterable[str]) -> str:
    """The tail of an error about an unknown word: `; did you mean 'x'?`, or the list of what is known.

    >>> nearest("temprature", ["temperature", "top_p"])
    "; did you mean 'temperature'?"
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(names)}"
