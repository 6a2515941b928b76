"""Images of records: where they are, the bytes behind them, and where bytes are kept."""

import base64
import contextlib
import dataclasses
import hashlib
import io
import os
import re
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparkcli.errors import InputError, SparkError
from sparkcli.files.pixels import UnreadableError, picture, suffix
from sparkcli.records import IMAGE_PARTS, IMAGE_SOURCES, R

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST_BYTES = 1 << 28
"""Of an encoded image; a larger file is none that a model could use."""
SECONDS = 30.0
"""How long a server may say nothing; the whole image may take four times as long."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def load_images(id: str, references: Sequence[str], *, allow_remote: bool) -> "list[Image]":
    """The pictures of a prompt. Raises InputError: `prompt 'ID': image 2 (PATH): what is wrong; what to try`."""
    return [load_image(reference, allow_remote=allow_remote, name=f"prompt {id!r}: image {number} ({told(reference)})")
            for number, reference in enumerate(references, 1)]


def load_image(reference: str, *, allow_remote: bool, name: str | None = None) -> "Image":
    """The picture behind a path, a data URI or, where allowed, an http(s) URL.

    Raises:
        InputError: it is not there, not a whole image, or too large; opens with `name`, else with the reference.
    """
    return decoded(read_image(reference, allow_remote=allow_remote, name=name), name or told(reference))


def read_image(reference: str, *, allow_remote: bool, name: str | None = None) -> bytes:
    """The encoded bytes behind a path, a data URI or, where allowed, an http(s) URL; they may be no image.

    Raises:
        InputError: there are none; opens with `name`, else with the reference.
    """
    with _named(name or told(reference)):
        return _bytes(reference, allow_remote)


def decoded(content: bytes, name: str) -> "Image":
    """The picture in encoded bytes. Raises InputError, which opens with `name`: not a whole image, or too large."""
    with _named(name):
        return picture(content)


def told(reference: str) -> str:
    """A short name of an image for messages.

    >>> told("data:image/png;base64,iVBORw0KGgo="), told("figures/1.png")
    ('data:image/png;base64,… (8 bytes)', 'figures/1.png')
    """
    if not is_data(reference):
        line = " ".join(reference.split())
        return line if len(line) <= 200 else f"{line[:120]}…{line[-60:]}"
    header, _, data = reference.partition(",")
    size = len(data.rstrip("=")) * 3 // 4 if header.lower().endswith(";base64") else len(data)
    return f"{header[:60]},… ({size} bytes)"


def is_data(reference: str) -> bool:
    """Whether an image is in the reference itself."""
    return reference[:5].lower() == "data:"


def is_remote(reference: str) -> bool:
    """Whether an image is named by an http or https URL."""
    return reference[:8].lower().startswith(("http://", "https://"))


def is_path(reference: str) -> bool:
    """Whether an image is named by a path."""
    return bool(reference) and not is_data(reference) and not _SCHEME.match(reference)


def store_image(content: bytes, folder: Path) -> Path:
    """Keeps encoded bytes as `FOLDER/SHA256.SUFFIX`, once; the suffix is the real format's.

    Raises:
        InputError: the bytes are no image.
        SparkError: the file cannot be written.
    """
    with _named(f"image ({len(content)} bytes)"):
        path = folder / f"{hashlib.sha256(content).hexdigest()}{suffix(content)}"
    temporary = folder / f".{path.name}.{os.getpid()}.partial"
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # a file that stands under its content's name must hold it
            os.replace(temporary, path)
    except OSError as error:
        raise SparkError(f"{path}: cannot be written: {error.strerror or error}; name another folder") from None
    return path


def absolute_images(record: R, folder: Path) -> R:
    """Paths that are relative to the record's file made absolute; URLs and data URIs stay."""
    return with_images(record, lambda image: str(folder / image) if is_path(image) else image)


def with_images(record: R, change: Callable[[str], str]) -> R:
    """The record with another reference in place of each to an image, in `images` and in messages."""
    if not record.images and isinstance(record.prompt, str):
        return record
    images = tuple(map(change, record.images))
    prompt = record.prompt
    if not isinstance(prompt, str):
        prompt = [_changed_message(message, change) for message in prompt]
    if images == record.images and prompt == record.prompt:
        return record
    return dataclasses.replace(record, images=images, prompt=prompt)


def _changed_message(message: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    content = message.get("content")
    if not isinstance(content, list):
        return message
    return {**message, "content": [_changed_part(part, change) for part in content]}


def _changed_part(part: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """A message part with another image, under whichever name it has one."""
    if part["type"] not in IMAGE_PARTS:
        return part
    changed: dict[str, Any] = {name: change(value) for name in {*IMAGE_SOURCES, "image_url"}
                               if isinstance(value := part.get(name), str)}
    inner = part.get("image_url")
    if isinstance(inner, dict) and isinstance(inner.get("url"), str):
        changed["image_url"] = {**inner, "url": change(inner["url"])}
    return {**part, **changed}


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except UnreadableError as error:
        raise InputError(f"{name}: {error}") from None


def _bytes(reference: str, allow_remote: bool) -> bytes:
    if is_data(reference):
        return _of_data(reference)
    if is_remote(reference):
        if not allow_remote:
            raise UnreadableError("is remote; allow it with --allow-remote-images, or save it as a file")
        return _fetched(reference)
    if _SCHEME.match(reference):
        raise UnreadableError("only http and https URLs are read; name a file by its path")
    return _of_file(reference)


def _of_file(path: str) -> bytes:
    try:
        if os.path.isdir(path):
            raise UnreadableError("is a directory; name the image in it")
        if os.path.exists(path) and not os.path.isfile(path):
            raise UnreadableError("is no regular file; copy the image to one")
        if os.path.exists(path) and (size := os.path.getsize(path)) > LARGEST_BYTES:
            raise UnreadableError(f"{size:,} bytes, above {LARGEST_BYTES:,}; scale it down")
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise UnreadableError("no such file; paths are relative to the file that names them") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise UnreadableError(f"cannot be read: {getattr(error, 'strerror', None) or error}; "
                               "check the path and its permissions") from None


def _of_data(uri: str) -> bytes:
    header, comma, data = uri.partition(",")
    if not comma:
        raise UnreadableError("a data URI without a comma; expected data:image/png;base64,…")
    content = urllib.parse.unquote_to_bytes(data.encode(errors="replace"))  # JSON may hold halves of characters
    if not header.lower().endswith(";base64"):
        return content
    digits = b"".join(content.split()).rstrip(b"=")
    try:
        return base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
    except ValueError:
        raise UnreadableError("a data URI whose base64 cannot be decoded; was it cut?") from None


def _fetched(url: str) -> bytes:
    """What a server sends, which may redirect to http and https alone."""
    import http.client
    import urllib.error
    import urllib.request

    import sparkcli

    opener = urllib.request.OpenerDirector()  # urlopen's own would follow to ftp
    for handler in (urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler,
                    urllib.request.HTTPRedirectHandler, urllib.request.HTTPErrorProcessor,
                    urllib.request.HTTPDefaultErrorHandler, urllib.request.UnknownHandler):
        opener.add_handler(handler())
    quoted = urllib.parse.quote(url, safe="%/:=&?~#+!$,;'@()*[]", errors="replace")
    try:
        request = urllib.request.Request(quoted, headers={"User-Agent": f"sparkcli/{sparkcli.__version__}"})
        with opener.open(request, timeout=SECONDS) as response:
            return _received(response)
    except urllib.error.HTTPError as error:
        error.close()
        reason = " ".join(str(error.reason).split())[:120]
        raise UnreadableError(f"the server answered {error.code} {reason}; check the URL") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = " ".join(str(getattr(error, "reason", None) or error).split()) or type(error).__name__
        raise UnreadableError(f"cannot be fetched: {reason}; check the URL, or save the image as a file") from None


def _received(response: Any) -> bytes:
    ends = time.monotonic() + 4 * SECONDS
    content = io.BytesIO()
    while block := response.read1(1 << 16):
        content.write(block)
        if content.tell() > LARGEST_BYTES:
            raise UnreadableError(f"more than {LARGEST_BYTES:,} bytes; save a smaller copy as a file")
        if time.monotonic() > ends:
            raise UnreadableError(f"not fetched within {4 * SECONDS:.0f} s; save it as a file")
    announced = response.headers.get("Content-Length")
    if announced and announced.isdigit() and content.tell() < int(announced):
        raise UnreadableError(f"the connection ended after {content.tell()} of {announced} bytes; try again")
    return content.getvalue()
