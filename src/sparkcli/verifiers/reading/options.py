"""Which options of a multiple-choice question a short text names. See `choice` for what is understood."""

import functools
import re
import unicodedata
from typing import NamedTuple

from sparkcli.verifiers.reading.quantity import TEXT_COMMAND, quantity

_LONGEST = 1000
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_TEXT_GROUP = re.compile(TEXT_COMMAND.pattern + r"\s*\{([^{}]*)\}")
_SPACE = re.compile(r"(?:\\(?:[,;:! ]|(?:left|right|q?quad|displaystyle)(?![a-zA-Z]))|~|\s)+")
_SIGNS = re.compile(r"[${}*`]")
_DEGREES = re.compile(r"\^?\s*\{?\s*\\(?:circ|degree)(?![a-zA-Z])\s*\}?")
_FRACTION = re.compile(r"\\[dt]frac(?![a-zA-Z])")
_SHORT_GROUP = re.compile(r"\{(\w)\}")

_LEAD = re.compile(r"(?:(?:the |(?:final|correct|right|best) )*(?:answer|option|choice)s?\b(?: (?:is|are)\b)? ?:? ?)+",
                   re.IGNORECASE)
_LETTER = re.compile(r"\(?([A-Za-z])\)?[.:!]?")
_ITEM = r"(?:option )?(?:\([A-Za-z]\)|[A-Za-z])\.?"
_SEVERAL = re.compile(rf"{_ITEM}(?:(?: ?[,;&] ?(?:and )?| and ){_ITEM})+|(?:\([A-Za-z]\) ?){{2,}}", re.IGNORECASE)
_LONE_LETTER = re.compile(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])")
_TOGETHER = re.compile(r"[A-J]{2,8}")
_WITH_TEXT = re.compile(r"(?:\(([A-Za-z])\)[.:,]?|([A-Za-z])\)[.:,]?|([A-Z])[.:](?![A-Za-z])|([a-z])[.:](?= )"
                        r"|([A-Z]),(?= )|([A-Z])(?= only$)) ?(.*)")
_LEFT_OPEN = re.compile(r"[. ]*(?:[Oo]r|and|nor)\b|/|\(?[A-Za-z]\)?(?:[,;]|$| or\b)|.*\([A-Z]\)"
                        r"|.*\b[A-J] (?:could|may|might|can|is also|also)\b")
_AT_THE_END = re.compile(r"[^()]* \(([A-Z])\)\.?")


_OPEN = re.compile(rf"(?:either |neither |maybe |probably )?{_ITEM}(?: ?[,/;|]| or| nor| and| and/or| vs\.?)+ ?"
                   rf"(?:maybe |perhaps |possibly )?{_ITEM}\b.*", re.IGNORECASE | re.DOTALL)
_LIST = re.compile(r"\[.*\]", re.DOTALL)


class _Options(NamedTuple):
    """Option texts, ready to be compared: their spelling, and the number that they are, if they are."""

    folded: tuple[str, ...]
    numbers: tuple[tuple[float, float, str] | None, ...]


def letters(text: str, options: tuple[str, ...] = ()) -> str | None:
    r"""The options that a text names, as `"B"` or, in alphabetical order, `"A, C"`; None if it names none.

    >>> letters("(b)"), letters(r"\text{C}"), letters("B. 12 cm"), letters("C and A")
    ('B', 'C', 'B', 'A, C')
    >>> letters("a cat"), letters("A or B"), letters("12 cm"), letters("12cm", ("$9$ cm", "$12$ cm"))
    (None, None, None, 'B')
    """
    return _letters(text, options) if len(text) <= _LONGEST else None


def leaves_open(text: str) -> bool:
    """Whether a text is about several options, of which it may be any.

    >>> leaves_open("A or B"), leaves_open(r"\\langle H \\rangle"), leaves_open("neither A nor C")
    (True, False, True)
    """
    return _OPEN.fullmatch(_plain(text[:_LONGEST])) is not None


@functools.lru_cache(maxsize=4096)
def _letters(text: str, options: tuple[str, ...]) -> str | None:
    plain = _listed(_plain(text))
    named = _LEAD.sub("", plain, count=1).strip() if _LEAD.match(plain) else plain
    by_letter, by_text = _by_letter(named), _by_text(text, options) if options else None
    if by_letter is None or by_text is None or by_letter == by_text:
        return by_text or by_letter
    if len(by_letter) > 1 or _ALPHABET.index(by_letter) >= len(options):
        return by_text
    if len(plain.rstrip(".")) == 1:
        return None
    return by_text if text in options else by_letter


def _plain(text: str) -> str:
    """The text without TeX and emphasis around its letters."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    text = text.replace(r"\{", "[").replace(r"\}", "]")
    return _SPACE.sub(" ", _SIGNS.sub("", TEXT_COMMAND.sub(" ", text))).strip()


def _listed(text: str) -> str:
    """`["A", "C"]` and `{A, C}` as `A, C`."""
    return text[1:-1].replace('"', "").replace("'", "").strip() if _LIST.fullmatch(text) else text


def _by_letter(text: str) -> str | None:
    if single := _LETTER.fullmatch(text):
        return single[1].upper()
    if _SEVERAL.fullmatch(text):
        return ", ".join(sorted({letter.upper() for letter in _LONE_LETTER.findall(text)}))
    if _TOGETHER.fullmatch(text) and list(text) == sorted(set(text)):
        return ", ".join(text)
    if match := _WITH_TEXT.fullmatch(text):
        *groups, rest = match.groups()
        return None if _LEFT_OPEN.match(rest) else next(group for group in groups if group).upper()
    at_the_end = _AT_THE_END.fullmatch(text)
    return at_the_end[1] if at_the_end else None


def _by_text(text: str, options: tuple[str, ...]) -> str | None:
    """The letter of the only option with this text; else of the only one that is this number."""
    known, folded = _prepared(options), _folded(text)
    fitting = [i for i, option in enumerate(known.folded) if option == folded]
    number = None if fitting else quantity(text)
    if number:
        fitting = [i for i, other in enumerate(known.numbers) if other and other[:2] == (number.value, number.scale)
                   and (not number.unit or not other[2] or number.unit == other[2])]
    return _ALPHABET[fitting[0]] if len(fitting) == 1 else None


@functools.lru_cache(maxsize=1024)
def _prepared(options: tuple[str, ...]) -> _Options:
    numbers = [quantity(option) for option in options]
    return _Options(tuple(map(_folded, options)),
                    tuple((number.value, number.scale, number.unit) if number else None for number in numbers))


def _folded(text: str) -> str:
    """What is left of a text if case, spacing and the ways to write the same TeX do not matter."""
    text = unicodedata.normalize("NFKC", text.strip("*` \n")).replace("$", "")
    text = _FRACTION.sub(r"\\frac", _DEGREES.sub("°", _TEXT_GROUP.sub(r"\1", text)))
    text = _SHORT_GROUP.sub(r"\1", _SPACE.sub("", TEXT_COMMAND.sub("", text))).replace("{,}", ",")
    return text.removesuffix(".").casefold()
