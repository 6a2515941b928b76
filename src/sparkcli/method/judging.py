"""The model as its own generative reward model: asking for verdicts, reading and counting them."""

import re
from collections.abc import Sequence

from sparkcli.method.answers import boxed

_COMMAND = re.compile(r"\\[a-zA-Z]+\*?")
_AROUND = re.compile(r"^[\W_]+|[\W_]+$")


def read_label(completion: str, labels: Sequence[str]) -> str | None:
    r"""Which of `labels` the last box of a completion names, spelled as in `labels`; None: it names none.

    Case, punctuation and LaTeX text commands around the label do not matter; any other word does.

    >>> read_label(r"It checks out. \boxed{\text{yes.}}", ("Yes", "No"))
    'Yes'
    >>> read_label("Yes", ("Yes", "No")), read_label(r"\boxed{A or B}", ("A", "B"))
    (None, None)
    """
    content = boxed(completion)
    if content is None:
        return None
    said = _AROUND.sub("", _COMMAND.sub(" ", content)).casefold()
    return next((label for label in labels if label.casefold() == said), None)
