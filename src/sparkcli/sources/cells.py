r"""What a cell of a foreign table means: a question, a gold answer, an id, images.

Of a worked solution the gold answer is what stands after `####` on the last line, in the last box, or after `A:` on the
last line. A number becomes text with all of its digits, `27.0` as `27`; dates, times and UUIDs become text; a list of
several answers is joined by commas, which math-verify reads as the set of them. No answer (null, NaN, empty) is no
error: the prompt then has nothing to verify against.
"""

import base64
import datetime
import math
import re
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

from sparkcli.errors import InputError
from sparkcli.files.images import is_data, is_remote
from sparkcli.json_values import from_bytes, number_text
from sparkcli.method.answers import boxed
from sparkcli.sources.choices import listed

BYTES = "data:;base64,"
"""Before the base64 of an image that a table holds as bytes, until it is kept as a file."""
_LONGEST_PATH = 4096
"""Bytes, on any system that runs this: a longer text is no path."""
_ENCODED = re.compile(r"(?:iVBORw0KGgo|/9j/|R0lGOD|UklGR|Qk0|SUkq|TU0A)[A-Za-z0-9+/\s]{40,}={0,2}\s*")
"""The base64 of a PNG, JPEG, GIF, WebP, bitmap or TIFF, which has no dot as names of files have."""
_HASHES = re.compile(r"####\s*([^\n]*)\s*\Z")
_GROUPED = re.compile(r"\D{0,3}\d{1,3}(?:,\d{3})+(?:\.\d+)?\s*%?")
_KINDS: Mapping[type, str] = {
    str: "text", bool: "true or false", int: "an integer", float: "a number", Decimal: "a number", dict: "an object",
    list: "a list", bytes: "bytes"}


def kind_of(value: Any) -> str:
    """What a cell holds, in words."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return _KINDS.get(type(value), type(value).__name__)


def plain(value: Any) -> Any:
    """A cell as a JSON value, or as what it is where JSON has no such value: dates, times, durations and UUIDs are
    text, numbers of numpy are Python's, NaN is null, and a decimal number is the integer or float that it equals.

    >>> plain(datetime.date(2024, 3, 5)), plain(Decimal("2.50")), plain(float("nan"))
    ('2024-03-05', 2.5, None)
    >>> plain(Decimal("0.12345678901234567890"))
    Decimal('0.12345678901234567890')
    """
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta | uuid.UUID):
        return str(value)
    if isinstance(value, Decimal):
        return _simplest(value)
    if isinstance(value, float) and math.isnan(value):
        return None
    return plain(value.tolist()) if hasattr(value, "tolist") else value


def is_number(value: Any) -> bool:
    """Whether a cell holds a number."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _simplest(number: Decimal) -> int | float | Decimal:
    digits, exponent = number.as_tuple()[1:]
    if number == number.to_integral_value() and exponent in range(-_LONGEST_INT, 1) and len(digits) < _LONGEST_INT:
        return int(number)
    nearest = float(number)
    return nearest if math.isfinite(nearest) and Decimal(repr(nearest)) == number else number


_LONGEST_INT = 4000
"""Digits; see `json_values`."""


def gold_in(value: Any, where: str) -> str | None:
    r"""The gold answer in a cell, None where there is none.

    >>> gold_in("So it is\n#### 1,007", ""), gold_in(r"so \boxed{x^2}", ""), gold_in(27.0, "")
    ('1007', 'x^2', '27')
    >>> gold_in(["$x$", "$-x$"], "")
    'x, -x'
    """
    value = plain(value)
    if isinstance(value, bytes):
        value = text_in(value, where)
    if value is None or isinstance(value, str):
        return _gold_in_text((value or "").strip(), where)
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float | Decimal) and abs(value) != math.inf:
        return number_text(value)
    if is_chat(value):
        return _gold_in_text(reply_in(value).strip(), where)
    if isinstance(value, list):
        answers = [answer for entry in value if (answer := gold_in(entry, where)) is not None]
        if len(answers) > 1:
            answers = [answer.strip("$") for answer in answers]
        return ", ".join(answers) or None
    raise InputError(f"{where}: expected an answer as text, number or list, found {kind_of(value)}")


def _gold_in_text(text: str, where: str) -> str | None:
    marked = marked_gold(text)
    if marked is not None:
        return marked or None
    if "\n" in text:
        raise InputError(f"{where}: several lines, and no final answer (####, \\boxed or A:) in them; "
                         f"name another column with --map answer=COLUMN")
    return text or None


def marked_gold(text: str) -> str | None:
    """The answer that a worked solution marks as its final one, perhaps empty; None where it marks none."""
    if hashes := _HASHES.search(text):
        answer = hashes[1].strip()
        return answer.replace(",", "") if _GROUPED.fullmatch(answer) else answer
    if (in_box := boxed(text)) is not None:
        return in_box
    _, separator, last = text.rpartition("\n")
    return last.removeprefix("A:").strip() if separator and last.startswith("A:") else None


def text_in(value: bytes, where: str) -> str:
    """The text of a cell that a table holds as bytes without saying that they are text."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InputError(f"{where}: expected text, found bytes that are no UTF-8") from None


def is_chat(value: Any) -> bool:
    """Whether a cell holds chat messages."""
    return isinstance(value, list) and bool(value) and all(
        isinstance(message, dict) and isinstance(message.get("role"), str) for message in value)


def reply_in(chat: Sequence[Any]) -> str:
    """The text of the last message of a chat."""
    content = chat[-1].get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    return "\n".join(text for text in texts if isinstance(text, str))


def question_in(value: Any, where: str) -> Any:
    """The question in a cell: text, chat messages, or chat messages as JSON text; also in ShareGPT's form."""
    if isinstance(value, bytes):
        value = text_in(value, where)
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        try:
            value = from_bytes(value.encode(errors="surrogatepass"))
        except orjson.JSONDecodeError:
            return value
    if isinstance(value, str | list) and value:
        return _from_sharegpt(value) if isinstance(value, list) else value
    found = "nothing" if not value else kind_of(value)
    raise InputError(f"{where}: expected a question as text or chat messages, found {found}")


def _from_sharegpt(messages: list[Any]) -> list[Any]:
    is_sharegpt = all(isinstance(message, dict) and {"from", "value"} <= message.keys() for message in messages)
    if not is_sharegpt:
        return messages
    return [{"role": _SHAREGPT_ROLES.get(message["from"], message["from"]), "content": message["value"]}
            for message in messages]


_SHAREGPT_ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant",
                   "observation": "tool"}


def id_in(value: Any, where: str, number_prefix: str) -> str:
    """The id in a cell, empty where there is none; a bare number gets the prefix."""
    value = plain(value)
    if value is not None and not isinstance(value, str | int | float | Decimal):
        raise InputError(f"{where}: expected an id, found {kind_of(value)}")
    text = value if isinstance(value, str) else "" if value is None else number_text(value)
    return f"{number_prefix}-{text}" if number_prefix and text.isdigit() else text


def images_in(value: Any, where: str) -> list[str]:
    """The images in a cell: one or a list of them, also as text; null and empty ones are none.

    Each is a path, a URL, a data URI, bytes, their base64, or what `datasets` makes of an image: an object with `bytes`
    and `path`. Bytes come out as data URIs that begin with `BYTES`.
    """
    if isinstance(value, str) and (texts := listed(value)) is not None:
        value = texts
    entries = value if isinstance(value, list) else [value]
    return [image for entry in entries if (image := _image(entry, where)) is not None]


def _image(entry: Any, where: str) -> str | None:
    if isinstance(entry, dict) and entry.keys() & {"bytes", "path"}:
        entry = entry.get("bytes") or entry.get("path")
    if isinstance(entry, bytes):
        return BYTES + base64.b64encode(entry).decode() if entry else None
    if entry is not None and not isinstance(entry, str):
        raise InputError(f"{where}: expected paths, URLs, data URIs or encoded images, found {kind_of(entry)}; "
                         "save the images as files and name them")
    if not entry or is_data(entry) or is_remote(entry):
        return entry or None
    return f"{BYTES}{entry}" if len(entry) > _LONGEST_PATH or _ENCODED.fullmatch(entry) else entry


def json_value(value: Any) -> Any:
    """A cell as JSON can hold it, see `plain`; of a map with text as keys an object.

    Raises:
        TypeError: it holds what JSON cannot, whose kind is the message.
    """
    value = plain(value)
    if value is None or isinstance(value, str | int | float | Decimal):
        return value
    if isinstance(value, list | tuple):
        is_map = bool(value) and all(isinstance(entry, tuple) and len(entry) == 2 for entry in value)
        if is_map and len({key for key, _ in value if isinstance(key, str)}) == len(value):
            value = dict(value)
        else:
            return [json_value(entry) for entry in value]
    if isinstance(value, dict):
        return {str(key): json_value(entry) for key, entry in value.items()}
    raise TypeError(kind_of(value))
