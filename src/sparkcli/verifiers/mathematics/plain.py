r"""Answers that need no algebra: equal spelling, plain numbers, words, numerals of another base.

All of it is exact, takes linear time, and never raises, whatever the text. What it cannot tell it leaves open.
"""

import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple, TypeVar

from sparkcli.method.answers import IN_TEXT, spelling, without_text_commands
from sparkcli.verifiers.base import Finding

_LONGEST = 80
"""Characters of what is read as a number or word; the memory below holds nothing longer."""
_LONG = 10_000
"""Characters from where equality but for spacing is looked for only in texts of like length."""
_SURELY_DIFFERENT = Fraction(1, 100_000)
"""Where a decimal is involved, numbers are compared after rounding to six places."""
_EXPONENT = r"(?:\{([+-]?\d{1,2})\}|(\d))"
_NUMBER = re.compile(
    r"([+-]?)(?:([1-9]\d{0,2}(?:,\d{3})+|\d+)(?:\.(\d*))?|\.(\d+))"
    rf"(?:[eE]([+-]?\d{{1,2}})|\s*(?:\\times|\\cdot|×|\*)\s*10\s*\^\s*{_EXPONENT})?(\s*\\?%)?")
_FRACTION = re.compile(r"([+-]?)(?:\\[dtc]?frac\s*(?:\{(-?\d+)\}\s*\{(\d+)\}|(\d)\s*(\d))|(\d+)\s*/\s*(\d+))")
_FROM_ZERO = re.compile(r"([+-]?)0,(\d{1,20})")
"""A first group of 0 groups no thousands: beside another number, `0,75` is a decimal."""
_DECIMAL_COMMA = re.compile(r"[+-]?(?:\d+,(?:\d{1,2}|\d{4,})|0,\d+)")
"""Read as a decimal where the gold answer is one; elsewhere such a comma separates two answers."""
_LONG_INTEGER = re.compile(r"([+-]?)0*(\d+)")
_NUMERAL = re.compile(r"([0-9A-Za-z]+)_(?:\{(\d{1,2})\}|(\d))")
_WORDS = re.compile(r"[A-Za-z]+(?:[ '-][A-Za-z]+)*")
_ITEMS = re.compile(r"\s*(?:,|;|\band\b|\bor\b)\s*")
_SPOKEN = re.compile(r"\b(?:(?=[A-Za-z]*[eio])[A-Za-z]{3,}|[A-Z][a-z]{2,}"
                     r"|(?i:an|am|as|at|be|by|do|go|he|if|in|is|it|me|my|no|of|on|or|so|to|up|us|we))\b", re.ASCII)
_CONSTANTS = frozenset(
    ("e", "i", "pi", "inf", "infinity", "infty", "oo", "sin", "cos", "tan", "log", "ln", "exp", "lim"))

_EQUAL_TEXT = Finding("correct", "equal text")
_EQUAL_NUMBERS = Finding("correct", "equal numbers")
_DIFFERENT_NUMBERS = Finding("wrong", "different numbers")
_WORD_FOR_NUMBER = Finding("wrong", "a word and a number")

_T = TypeVar("_T")


def settled(gold: str, answer: str) -> Finding | None:
    """The verdict by any of these rules."""
    if gold == answer:
        return _EQUAL_TEXT
    if _is_integer(gold) and _is_integer(answer):
        return _DIFFERENT_NUMBERS
    return _by_number(gold, answer) or same_text(gold, answer)


def _is_integer(text: str) -> bool:
    """Whether it is a whole number as most are written, so that another spelling is another number."""
    return text.isdecimal() and text[0] != "0" and text.isascii()


def same_text(gold: str, answer: str) -> Finding | None:
    """The verdict of the rules that are no arithmetic: spelling, words, numerals of a base."""
    if gold == answer:
        return _EQUAL_TEXT
    if max(len(gold), len(answer)) > _LONG > 2 * min(len(gold), len(answer)):
        return None  # spacing cannot be all that differs, and a long text takes milliseconds
    left, right = _remembered(_spelled, gold), _remembered(_spelled, answer)
    if left == right:
        return Finding("correct", "equal text but for spacing")
    return _by_word(gold, answer) or _by_base(left, right)


_spelled = lru_cache(maxsize=8192)(spelling)


class Number(NamedTuple):
    """The value of a plain number, without the percent sign that it may bear."""

    value: Fraction
    is_percent: bool


def number(text: str) -> Number | None:
    r"""The value of a plain number; None for anything that needs a parser.

    >>> number("27.0").value, number(r"-\frac{2}{4}").value, number("1,000").value, number("4.5e3").value
    (Fraction(27, 1), Fraction(-1, 2), Fraction(1000, 1), Fraction(4500, 1))
    >>> number("1,00"), number("3 cm"), number(r"50\%")
    (None, None, Number(value=Fraction(50, 1), is_percent=True))
    """
    if match := _NUMBER.fullmatch(text):
        sign, whole, decimals, only_decimals, power, braced, digit, percent = match.groups()
        decimals = decimals or only_decimals or ""
        exponent = int(power or braced or digit or 0) - len(decimals)
        digits = int((whole or "0").replace(",", "") + decimals)
        value = Fraction(digits * 10**exponent) if exponent >= 0 else Fraction(digits, 10**-exponent)
        return Number(-value if sign == "-" else value, percent is not None)
    if match := _FROM_ZERO.fullmatch(text):
        value = Fraction(int(match[2]), 10**len(match[2]))
        return Number(-value if match[1] == "-" else value, False)
    if match := _FRACTION.fullmatch(text):
        sign, *parts = match.groups()
        over, under = (int(part) for part in parts if part is not None)
        return Number(Fraction(-over if sign == "-" else over, under), False) if under else None
    return None


_number = lru_cache(maxsize=8192)(number)


def _remembered(function: Callable[[str], _T], text: str) -> _T:
    """The function with its memory for short texts, without it for long ones, which would fill it."""
    return function(text) if len(text) <= _LONGEST else function.__wrapped__(text)  # type: ignore[attr-defined]


def _by_number(gold: str, answer: str) -> Finding | None:
    if len(gold) > _LONGEST or len(answer) > _LONGEST:
        return _by_digits(gold, answer)
    expected = _number(gold)
    found = _number(answer.replace(",", ".") if "." in gold and _DECIMAL_COMMA.fullmatch(answer) else answer)
    if expected is None or found is None:
        is_word = (expected and are_words(answer)) or (found and are_words(gold))
        return _WORD_FOR_NUMBER if is_word else None
    if expected.is_percent != found.is_percent:
        return _by_percent(*(expected.value, found.value) if expected.is_percent else (found.value, expected.value))
    return _by_value(expected.value, found.value)


def _by_value(expected: Fraction, found: Fraction) -> Finding | None:
    if expected == found:
        return _EQUAL_NUMBERS
    is_surely_different = expected.denominator == found.denominator == 1 or abs(expected - found) > _SURELY_DIFFERENT
    return _DIFFERENT_NUMBERS if is_surely_different else None


def _by_percent(percent: Fraction, other: Fraction) -> Finding | None:
    """The verdict where one side bears a percent sign: 50% is answered as 50 and as 0.5, and both are meant."""
    findings = [_by_value(percent, other), _by_value(percent / 100, other)]
    right = next((each for each in findings if each and each.status == "correct"), None)
    return right or (findings[0] if all(findings) else None)


def _by_digits(gold: str, answer: str) -> Finding | None:
    """The verdict on integers of any length, which are compared as they are written: no arithmetic has a limit here."""
    expected, found = _LONG_INTEGER.fullmatch(gold), _LONG_INTEGER.fullmatch(answer)
    if expected is None or found is None:
        return None
    is_equal = expected[2] == found[2] and (expected[1] == "-") == (found[1] == "-")
    return _EQUAL_NUMBERS if is_equal else _DIFFERENT_NUMBERS


def _by_word(gold: str, answer: str) -> Finding | None:
    """The verdict where both are words, or lists of words or letters; upper case does not matter."""
    if len(gold) > _LONGEST or len(answer) > _LONGEST:
        return None
    expected, found = _words(gold), _words(answer)
    if expected is None or found is None:
        return None
    if expected.items == found.items:
        return Finding("correct", "equal words")
    return Finding("wrong", "different words") if expected.is_spoken and found.is_spoken else None


class _Words(NamedTuple):
    """Words in lower case, sorted. Spoken words are surely no product of letters, as `xy` is."""

    items: list[str]
    is_spoken: bool


@lru_cache(maxsize=8192)
def _words(text: str) -> _Words | None:
    """The words that a text consists of, if it does."""
    bare = without_text_commands(text).replace("**", "").strip(" .$")
    items = [item.strip("() ") for item in _ITEMS.split(bare)]
    if not all(_WORDS.fullmatch(item) and item.lower() not in _CONSTANTS for item in items):
        return None
    is_set_as_text = IN_TEXT.search(text) is not None
    is_spoken = all(len(item) > 1 and (is_set_as_text or _SPOKEN.search(item)) for item in items)
    return _Words(sorted(" ".join(item.lower().replace("-", " ").split()) for item in items), is_spoken)


def are_words(text: str) -> bool:
    r"""Whether a text is one word or several, and surely no product of letters.

    >>> are_words(r"\text{Monday}"), are_words("no solution"), are_words("xy"), are_words("infinity")
    (True, True, False, False)
    """
    words = _words(text) if len(text) <= _LONGEST else None
    return words is not None and words.is_spoken


def _by_base(gold: str, answer: str) -> Finding | None:
    """The verdict on numerals that both name their base; one alone is compared by its digits, as it always was."""
    expected, found = _value_in_base(gold), _value_in_base(answer)
    if expected is None or found is None:
        return None
    return _EQUAL_NUMBERS if expected == found else _DIFFERENT_NUMBERS


def _value_in_base(text: str) -> int | None:
    """The value of `1A_{16}`."""
    if len(text) > _LONGEST or "_" not in text:
        return None
    match = _NUMERAL.fullmatch(text)
    base = int(match[2] or match[3]) if match else 0
    if match is None or not 2 <= base <= 36:
        return None
    try:
        return int(match[1], base)
    except ValueError:  # a digit that this base does not have
        return None
