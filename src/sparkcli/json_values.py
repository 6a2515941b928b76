"""JSON texts as Python values and back, with no digit lost.

orjson does the work. It rounds numbers that 64 bits do not hold, and refuses lone surrogates and numbers beyond the
range of floats. Texts that may hold such are read once more by the standard library: integers of any size are `int`,
and numbers that a float would change are `Decimal`. NaN and infinity are no JSON; of foreign rows NaN is read as null,
which is what tables mean by it.
"""

import contextlib
import decimal
import json
import math
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import orjson

Json = Any
_ROUNDED = re.compile(rb"[-\[,:\s](?:0\.0*+[1-9][0-9]{17}|[1-9][0-9.]{18})")
"""A number of 18 significant digits, more than any float is written with, or an integer of 19."""
_DIFFERENT = re.compile(rb"[-\[,:\s](?:0\.0*+[1-9][0-9]{15}|[1-9][0-9.]{16})|[0-9][eE]-[0-9]{3}")
"""A number of 16 digits, which a float may hold only nearly, or one so small that floats have fewer."""
_LONGEST_INT = 4000
"""Digits. Python reads no longer ones as `int`, since that takes long."""
_CONSTANT = re.compile("NaN|Infinity")
_PLAIN_EXPONENTS = range(-30, 31)


def from_bytes(content: bytes, *, floats: frozenset[str] = frozenset(), foreign: bool = False) -> Json:
    """The value of a JSON text.

    Args:
        content: one JSON value in UTF-8.
        floats: names of an object's fields whose numbers are floats by their meaning: no time is spent on their digits.
        foreign: whether other tools wrote it: no number changes at all, and NaN is null.

    Raises:
        orjson.JSONDecodeError: it is not JSON.
    """
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        with contextlib.suppress(ValueError, RecursionError):  # orjson's own error says where it breaks
            return _exact(content, floats, foreign=foreign)
        raise
    items = value.items() if type(value) is dict else [("", value)]
    carried = [item for name, item in items if type(item) in _HOLDERS and name not in floats]
    if carried and holds_float(carried):
        text = _without(content, [name for name in floats if type(value.get(name)) is list])
        if (_DIFFERENT if foreign else _ROUNDED).search(b" " + text):
            return _exact(content, floats, foreign=foreign)
    return value


def _without(content: bytes, names: Iterable[str]) -> bytes:
    """The text without its lists of numbers with these names, which are most of it."""
    for name in names:
        begin = content.find(f'"{name}"'.encode())
        content = content[:begin] + content[content.find(b"]", begin):]
    return content


def holds_float(value: Json) -> bool:
    """Whether there is a float anywhere in a value: an integer that orjson rounded is one too."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if type(item) is float:
            return True
        if type(item) is dict:
            waiting += [inner for inner in item.values() if type(inner) in _HOLDERS]
        elif type(item) is list and (kinds := set(map(type, item)) & _HOLDERS):
            if float in kinds:
                return True
            waiting += item
    return False


_HOLDERS = {float, dict, list}


def _exact(content: bytes, floats: frozenset[str], *, foreign: bool) -> Json:
    value = json.loads(content.decode(), parse_int=_integer, parse_float=_number,
                       parse_constant=_missing if foreign else _refused)
    if isinstance(value, dict):
        value.update({name: _as_floats(item) for name, item in value.items() if name in floats})
    return value


def _as_floats(value: Json) -> Json:
    if isinstance(value, dict):
        return {name: _as_floats(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_as_floats(item) for item in value]
    return float(value) if isinstance(value, Decimal) else value


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) <= _LONGEST_INT else Decimal(text)


def _number(text: str) -> float | Decimal:
    """A float where it is the same number, else the number itself."""
    value = float(text)
    try:
        number = Decimal(text)
    except decimal.InvalidOperation:
        raise ValueError(f"{text} is beyond all numbers") from None
    return value if math.isfinite(value) and Decimal(repr(value)) == number else number


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _missing(constant: str) -> None:
    if constant != "NaN":
        _refused(constant)


def decode_error(error: orjson.JSONDecodeError) -> str:
    """What is wrong with a text that is not JSON, in a few words."""
    constant = _CONSTANT.match(str(error.doc), error.pos)
    what = f"{constant[0]} is no JSON value, write null," if constant else error.msg
    return f"not JSON: {what} at column {error.pos + 1}"


def to_bytes(value: Json, option: int = 0) -> bytes:
    """`value` as JSON, with orjson's options; lone surrogates, integers of any size and `Decimal` included.

    Raises:
        TypeError: it holds what JSON cannot.
    """
    try:
        return orjson.dumps(value, option=option)
    except TypeError:
        text = _text(value, sort=bool(option & orjson.OPT_SORT_KEYS))
        return text.encode() + (b"\n" if option & orjson.OPT_APPEND_NEWLINE else b"")


def _text(value: Json, *, sort: bool) -> str:
    if isinstance(value, Decimal) and value.is_finite():
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "null"
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("keys are text in JSON")
        items = sorted(value.items()) if sort else value.items()
        return "{" + ",".join(f"{json.dumps(key)}:{_text(item, sort=sort)}" for key, item in items) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_text(item, sort=sort) for item in value) + "]"
    return json.dumps(value)


def number_text(number: float | Decimal) -> str:
    """A number as people write it: whole ones without a point, no exponent but for the very large and small.

    >>> number_text(27.0), number_text(2**70), number_text(Decimal("3.50")), number_text(1e-07), number_text(1e300)
    ('27', '1180591620717411303424', '3.5', '0.0000001', '1E+300')
    """
    exact = Decimal(repr(number)) if isinstance(number, float) else Decimal(number)
    if exact == 0 or not exact.is_finite():
        return "0" if exact == 0 else str(number)
    if not isinstance(number, int) and exact.adjusted() not in _PLAIN_EXPONENTS:
        return str(exact)
    text = format(exact, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
