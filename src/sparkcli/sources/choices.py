"""The options of a multiple-choice question: read from a cell, and written after a question that lacks them.

A cell is a list of texts, the text of such a list (`"['8 kg', '12 kg']"`), one text of lettered options
(`A. 8 kg; B. 12 kg`), an object of them (`{"A": "8 kg", "B": "12 kg"}`), or one of two lists as in ARC
(`{"label": ["A", "B"], "text": ["8 kg", "12 kg"]}`), whose labels may be numbers.
"""

import ast
import json
import re
import string
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

_LETTERS = string.ascii_uppercase
_LONGEST_LITERAL = 100_000


def options_in(cell: Any) -> list[str] | None:
    """The texts of 2 to 26 options in the order of their letters; None where the cell holds no options.

    >>> options_in("['8 kg', \\"a baker's dozen\\"]"), options_in("A. 6; B. 12; C. no; not this")
    (['8 kg', "a baker's dozen"], ['6', '12', 'no; not this'])
    >>> options_in("[]"), options_in(None), options_in("A word")
    (None, None, None)
    """
    if isinstance(cell, str):
        cell = listed(cell) or _lettered(cell)
    if isinstance(cell, dict):
        cell = _labelled(cell)[1]
    is_options = isinstance(cell, list) and 2 <= len(cell) <= 26 and all(isinstance(text, str) for text in cell)
    return cell if is_options else None


def listed(text: str) -> list[Any] | None:
    """The list that a text writes as Python or JSON do, without running it; None where it is none.

    >>> listed("['a', None]"), listed('["a", null]'), listed("[sic]")
    (['a', None], ['a', None], None)
    """
    text = text.strip()
    if not text.startswith("["):
        return None
    for read in (_literal, json.loads):
        try:
            value = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return value if isinstance(value, list) else None
    return None


def _literal(text: str) -> Any:
    """What Python's own parser makes of a text, which takes a hundred times the memory."""
    if len(text) > _LONGEST_LITERAL:
        raise ValueError
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes that Python does not know: \frac
        return ast.literal_eval(text)


def _lettered(text: str) -> list[str] | None:
    parts = re.split(r"(?:^|[;\n])\s*([A-Z])[.):]\s", text.strip())
    if parts[0].strip() or "".join(parts[1::2]) != _LETTERS[:len(parts) // 2]:
        return None
    return [part.strip() for part in parts[2::2]]


def _labelled(cell: dict[Any, Any]) -> tuple[list[Any], list[Any]]:
    """The labels and texts of an object of options; empty where it is none. Tables fill unused letters with null."""
    labels, texts = cell.get("label"), cell.get("text")
    if isinstance(labels, list) and isinstance(texts, list) and len(labels) == len(texts) == len(set(map(str, labels))):
        return labels, texts
    filled = {label: text for label, text in cell.items() if text is not None}
    return (list(filled), list(filled.values())) if "".join(map(str, filled)) == _LETTERS[:len(filled)] else ([], [])


def letter_of(answer: str | None, cells: Iterable[Any]) -> str | None:
    """The letter of the option that an answer names by its label, where options have labels of their own.

    >>> letter_of("2", [None, {"label": ["1", "2"], "text": ["8 kg", "12 kg"]}])
    'B'
    """
    for cell in cells:
        if isinstance(cell, dict) and options_in(cell) and answer in (labels := list(map(str, _labelled(cell)[0]))):
            return _LETTERS[labels.index(str(answer))]
    return None


def letters(options: Sequence[Any]) -> str:
    """The letters of options."""
    return _LETTERS[:len(options)]


def letter_at(cell: Any, options: Sequence[str]) -> str | None:
    """The letter of the option at a place counted from 0; None where the cell is no whole number, or no such place.

    >>> letter_at(1, ["8 kg", "12 kg"]), letter_at(2, ["8 kg", "12 kg"]), letter_at("1", ["8 kg", "12 kg"])
    ('B', None, None)
    """
    is_number = isinstance(cell, int | float) and not isinstance(cell, bool)  # tables with gaps have 1 as 1.0
    is_place = is_number and cell == cell // 1 and 0 <= cell < len(options)
    return _LETTERS[int(cell)] if is_place else None


def with_options(question: str, options: Sequence[str]) -> str:
    """The question with a line for each option, `(A) text`; as it is where it has them, or where they say nothing.

    >>> with_options("How heavy?", ["8 kg", "12 kg"])
    'How heavy?\\n(A) 8 kg\\n(B) 12 kg'
    >>> with_options("How heavy?", ["A", "B"]), with_options("A: 8 kg, B: 12 kg?", ["8 kg", "12 kg"])
    ('How heavy?', 'A: 8 kg, B: 12 kg?')
    """
    pairs = list(zip(_LETTERS, options, strict=False))
    if all(text.strip(" ().:") == letter for letter, text in pairs):  # the choices are in the picture
        return question
    if all(_stands_in(question, letter, text) for letter, text in pairs):
        return question
    has_letters = all(re.match(rf"\s*\(?{letter}[).:]", text) for letter, text in pairs)
    lines = options if has_letters else [f"({letter}) {text}" for letter, text in pairs]
    return "\n".join([question, *lines]) if question else "\n".join(lines)


def _stands_in(question: str, letter: str, text: str) -> bool:
    """Whether a question has the option already: `(A) text`, `A. text`, `A: text`, `A text`."""
    words = r"\s+".join(map(re.escape, re.sub(rf"^\s*\(?{letter}[).:]\s*", "", text).split()))
    return re.search(rf"(?<![A-Za-z0-9])\(?{letter}\s*[).:、,]*\s*{words}", question) is not None
