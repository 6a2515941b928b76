r"""What verifiers of short answers read from a completion, and how much counts as an answer.

`stated`   what `method.answers` reads; a last line `A: x`; a completion that is nothing but a number, formula or word
`boxed`    the last box, nothing else
`last`     as `stated`; else the last `answer is x`, formula or number anywhere: for stored outputs of models that were
           not told how to answer. It guesses, so it is not for training
"""

import re

from sparkcli.method import statements
from sparkcli.method.answers import Reading, boxed, read_answer
from sparkcli.verifiers.base import Options

READINGS = ("stated", "boxed", "last")
READING = "stated"
"""The default of the option `reading`."""

_ANSWER_LINE = re.compile(r"(?:^|\n)A:[ \t]*(\S.{0,79})\s*\Z")
_FIGURES = r"(?<![\w.])[-+\u2212]?(?:[$€£¥][ ]?)?\d[\d,./]*(?:[eE][-+]?\d+)?(?:[ ]?\\?%)?(?!\w)"
_FORMULA = r"\$\$[^$]{1,300}\$\$|\$[^$\n]{1,300}\$|\\\([^\n]{1,300}?\\\)|\\\[.{1,300}?\\\]"
_WORD = r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*"
_BARE = re.compile(rf"(?:{_FIGURES}|{_FORMULA}|{_WORD})\.?", re.DOTALL)
_PIECE = re.compile(rf"{_FORMULA}|{_FIGURES}", re.DOTALL)
_SIGNS = re.compile(r"\A(?:\$\$?|\\[(\[])\s*|\s*(?:\$\$?|\\[)\]])\Z")
_LONGEST_BARE = 400
_LAST_WINDOW = 2000


def validate(options: Options) -> None:
    """Raises a ValueError for what is no value of the option `reading`."""
    found = options["reading"]
    if found not in READINGS:
        raise ValueError(f"reading: expected {', '.join(READINGS[:-1])} or {READINGS[-1]}, found {found!r}")


def short_answer(completion: str, reading: str = READING) -> Reading | None:
    r"""The final answer, as the option `reading` has it.

    >>> short_answer("It is \\boxed{3}.\nA: 4").text, short_answer("2 + 2 = 4\nA: 4").text, short_answer("$4$").text
    ('3', '4', '4')
    >>> short_answer("A: 4, or not?\nHm.") is None, short_answer("I count 3, no, 4 of them.", "last").text
    (True, '4')
    """
    if reading == "boxed":
        content = boxed(completion)
        return Reading(content, "the last box") if content else None
    found = read_answer(completion) or _answer_line(completion) or _bare(completion)
    if found is None and reading == "last":
        return last_statement(completion) or _last_piece(completion)
    return found


def last_statement(completion: str) -> Reading | None:
    """The last `answer is x`, whatever follows it."""
    answer = statements.last(completion)
    return Reading(answer, "the last `answer is`") if answer else None


def _answer_line(completion: str) -> Reading | None:
    """`A: x` means option A to others, and so is read only here."""
    line = _ANSWER_LINE.search(completion[-200:])
    return Reading(line[1].rstrip(), "the last line, `A: answer`") if line else None


def _bare(completion: str) -> Reading | None:
    text = completion.strip() if len(completion) < _LONGEST_BARE else ""
    return Reading(_plain(text), "all of the completion") if _BARE.fullmatch(text) else None


def _last_piece(completion: str) -> Reading | None:
    pieces = _PIECE.findall(completion[-_LAST_WINDOW:])
    return Reading(_plain(pieces[-1]), "the last formula or number") if pieces else None


def _plain(piece: str) -> str:
    return _SIGNS.sub("", piece.strip().removesuffix(".")).rstrip(".,/") or piece
