r"""What a cell of a foreign table means: a question, a gold answer, an id, images.

Of a worked solution the gold answer is what stands after `####`, in the last box, or after `A:` on the last
line. A number becomes text, `27.0` as `27`; a list of several answers is joined by commas, which math-verify
reads as the set of them. No answer (null, empty) is no error: the prompt then has nothing to verify against.
"""

import base64
import re
from typing import Any

import orjson

from sparkcli.errors import InputError
from sparkcli.fields import from_bytes, to_bytes
from sparkcli.files.images import is_data, is_remote
from sparkcli.method.answers import boxed
from sparkcli.sources.choices import listed

BYTES = "data:;base64,"
"""Before the base64 of an image that a table holds as bytes, until it is kept as a file."""
_LONGEST_PATH = 4096
"""Bytes, on any system that runs this: a longer text is no path."""
_ENCODED = re.compile(r"(?:iVBORw0KGgo|/9j/|R0lGOD|UklGR|Qk0|SUkq|TU0A)[A-Za-z0-9+/\s]{40,}={0,2}\s*")
"""The base64 of a PNG, JPEG, GIF, WebP, bitmap or TIFF, which has no dot as names of files have."""


def gold_in(value: Any, where: str) -> str | None:
    r"""The gold answer in a cell, None where there is none.

    >>> gold_in("So it is\n#### 1,007", ""), gold_in(r"so \boxed{x^2}", ""), gold_in(27.0, "")
    ('1007', 'x^2', '27')
    >>> gold_in(["$x$", "$-x$"], "")
    'x, -x'
    """
    if value is None or isinstance(value, str):
        return _gold_in_text((value or "").strip(), where)
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return str(int(value)) if abs(value) < 1e15 and value == int(value) else str(value)
    if isinstance(value, list):
        answers = [answer for entry in value if (answer := gold_in(entry, where)) is not None]
        if len(answers) > 1:
            answers = [answer.strip("$") for answer in answers]
        return ", ".join(answers) or None
    raise InputError(f"{where}: expected an answer as text, number or list, found {type(value).__name__}")


def _gold_in_text(text: str, where: str) -> str | None:
    if "####" in text:
        return text.rpartition("####")[2].strip().replace(",", "") or None
    in_box = boxed(text)
    if in_box is not None:
        return in_box
    _, separator, last = text.rpartition("\n")
    if separator and last.startswith("A:"):
        return last.removeprefix("A:").strip() or None
    if separator:
        raise InputError(f"{where}: several lines, and no final answer (####, \\boxed or A:) in them; "
                         f"name another column with --map answer=COLUMN")
    return text or None


def question_in(value: Any, where: str) -> Any:
    """The question in a cell: text, chat messages, or chat messages as JSON text."""
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    if isinstance(value, str | list) and value:
        return value
    found = "nothing" if not value else type(value).__name__
    raise InputError(f"{where}: expected a question as text or chat messages, found {found}")


def id_in(value: Any, where: str, number_prefix: str) -> str:
    """The id in a cell, empty where there is none; a bare number gets the prefix."""
    if value is not None and not isinstance(value, str | int):
        raise InputError(f"{where}: expected an id, found {type(value).__name__}")
    text = str(value) if value is not None else ""
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
        raise InputError(f"{where}: expected paths, URLs, data URIs or encoded images, found {type(entry).__name__}; "
                         "save the images as files and name them")
    if not entry or is_data(entry) or is_remote(entry):
        return entry or None
    return f"{BYTES}{entry}" if len(entry) > _LONGEST_PATH or _ENCODED.fullmatch(entry) else entry


def json_value(value: Any, where: str) -> Any:
    """A cell as JSON can hold it: dates as text."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    try:
        return from_bytes(to_bytes(value))
    except TypeError:
        kind = type(value).__name__
        raise InputError(f"{where}: {kind} cannot be written as JSON; leave the column out") from None
