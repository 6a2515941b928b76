"""Images of records: where they are, the bytes behind them, and the picture a model sees.

Every picture comes out as RGB, upright, its first frame, transparent parts on white. What is not whole is refused: a
model must not be shown half a picture. So is what has more pixels than `LARGEST_PIXELS`, before it is decoded. Only
formats that are pictures and nothing else are opened (no PostScript, no SVG).
"""

import base64
import contextlib
import dataclasses
import hashlib
import io
import os
import re
import struct
import threading
import time
import urllib.parse
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparkcli.errors import InputError, SparkError
from sparkcli.records import R

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST_PIXELS = 89_478_485
"""Above it Pillow warns of a decompression bomb: a quarter of a gigabyte of RGB."""
LARGEST_BYTES = 1 << 28
"""Of an encoded image; a larger file is none that a model could use."""
SECONDS = 30.0
"""How long a server may say nothing; the whole image may take four times as long."""

_SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "MPO": ".jpg", "GIF": ".gif", "WEBP": ".webp", "BMP": ".bmp",
             "TIFF": ".tiff", "PPM": ".ppm", "JPEG2000": ".jp2", "AVIF": ".avif"}
"""Formats that are read, by Pillow's names."""
_SIZES = ((b"\x89PNG\r\n\x1a\n", ">16xII"), (b"GIF8", "<6xHH"), (b"BM", "<18xii"))
"""Where headers say width and height: Pillow does not know an image without pixels as an image."""
_NO_IMAGE = "no image in a format that is read (PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000)"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_ROTATED = 0x0112
"""The EXIF tag `Orientation`."""
_QUIET = threading.Lock()


def load_images(id: str, references: Sequence[str], *, allow_remote: bool) -> "list[Image]":
    """The pictures of a prompt. Raises InputError: `prompt 'ID': image 2 (PATH): what is wrong; what to try`."""
    pictures = []
    for number, reference in enumerate(references, 1):
        try:
            pictures.append(_picture(_bytes(reference, allow_remote)))
        except _UnreadableError as error:
            raise InputError(f"prompt {id!r}: image {number} ({told(reference)}): {error}") from None
    return pictures


def load_image(reference: str, *, allow_remote: bool) -> "Image":
    """The picture behind a path, a data URI or, where allowed, an http(s) URL.

    Raises:
        InputError: it is not there, not a whole image, or too large; names the image.
    """
    with _named(reference):
        return _picture(_bytes(reference, allow_remote))


def read_image(reference: str, *, allow_remote: bool) -> bytes:
    """The encoded bytes behind a path, a data URI or, where allowed, an http(s) URL; they may be no image.

    Raises:
        InputError: there are none; names the image.
    """
    with _named(reference):
        return _bytes(reference, allow_remote)


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


def store_image(content: bytes, folder: Path) -> Path:
    """Keeps encoded bytes as `FOLDER/SHA256.SUFFIX`, once; the suffix is the real format's.

    Raises:
        InputError: the bytes are no image.
        SparkError: the file cannot be written.
    """
    try:
        path = folder / f"{hashlib.sha256(content).hexdigest()}{_SUFFIXES[_header(content).format or '']}"
    except _UnreadableError as error:
        raise InputError(f"image ({len(content)} bytes): {error}") from None
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
        raise SparkError(f"{path}: cannot be written: {error.strerror or error}") from None
    return path


def absolute_images(record: R, folder: Path) -> R:
    """Paths that are relative to the record's file made absolute, also in messages; URLs and data URIs stay."""
    images = tuple(_absolute(image, folder) for image in record.images)
    prompt = record.prompt
    if not isinstance(prompt, str):
        prompt = [_absolute_parts(message, folder) for message in prompt]
    if images == record.images and prompt == record.prompt:
        return record
    return dataclasses.replace(record, images=images, prompt=prompt)


def _absolute_parts(message: dict[str, Any], folder: Path) -> dict[str, Any]:
    content = message["content"]
    if isinstance(content, str):
        return message
    return {**message, "content": [_absolute_part(part, folder) for part in content]}


def _absolute_part(part: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A message part whose image, under any of the names that it may stand under, is absolute."""
    if part["type"] not in ("image", "image_url"):
        return part
    named: dict[str, Any] = {name: _absolute(value, folder) for name in ("image", "url", "path", "image_url")
                             if isinstance(value := part.get(name), str)}
    inner = part.get("image_url")
    if isinstance(inner, dict) and isinstance(inner.get("url"), str):
        named["image_url"] = {**inner, "url": _absolute(inner["url"], folder)}
    return {**part, **named}


def _absolute(reference: str, folder: Path) -> str:
    is_path = reference and not is_data(reference) and not _SCHEME.match(reference)
    return str(folder / reference) if is_path else reference


class _UnreadableError(Exception):
    """What is wrong with an image, and what to try; whoever knows its name puts it before."""


@contextlib.contextmanager
def _named(reference: str) -> Iterator[None]:
    try:
        yield
    except _UnreadableError as error:
        raise InputError(f"{told(reference)}: {error}") from None


def _bytes(reference: str, allow_remote: bool) -> bytes:
    if is_data(reference):
        return _of_data(reference)
    if is_remote(reference):
        if not allow_remote:
            raise _UnreadableError("is remote; allow it with --allow-remote-images, or save it as a file")
        return _fetched(reference)
    if _SCHEME.match(reference):
        raise _UnreadableError("only http and https URLs are read; name a file by its path")
    return _of_file(reference)


def _of_file(path: str) -> bytes:
    try:
        if os.path.isdir(path):
            raise _UnreadableError("is a directory; name the image in it")
        if os.path.exists(path) and not os.path.isfile(path):
            raise _UnreadableError("is no regular file; copy the image to one")
        if os.path.exists(path) and (size := os.path.getsize(path)) > LARGEST_BYTES:
            raise _UnreadableError(f"{size:,} bytes, above {LARGEST_BYTES:,}; scale it down")
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise _UnreadableError("no such file; paths are relative to the file that names them") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise _UnreadableError(f"cannot be read: {getattr(error, 'strerror', None) or error}; "
                               "check the path and its permissions") from None


def _of_data(uri: str) -> bytes:
    header, comma, data = uri.partition(",")
    if not comma:
        raise _UnreadableError("a data URI without a comma; expected data:image/png;base64,…")
    content = urllib.parse.unquote_to_bytes(data)
    if not header.lower().endswith(";base64"):
        return content
    digits = b"".join(content.split()).rstrip(b"=")
    try:
        return base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
    except ValueError:
        raise _UnreadableError("a data URI whose base64 cannot be decoded; was it cut?") from None


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
    quoted = urllib.parse.quote(url, safe="%/:=&?~#+!$,;'@()*[]")
    request = urllib.request.Request(quoted, headers={"User-Agent": f"sparkcli/{sparkcli.__version__}"})
    try:
        with opener.open(request, timeout=SECONDS) as response:
            return _received(response)
    except urllib.error.HTTPError as error:
        raise _UnreadableError(f"the server answered {error.code} {error.reason}; check the URL") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise _UnreadableError(f"cannot be fetched: {' '.join(str(reason).split())}; check the URL, or save the image "
                               "as a file") from None


def _received(response: Any) -> bytes:
    ends = time.monotonic() + 4 * SECONDS
    content = io.BytesIO()
    while block := response.read1(1 << 16):
        content.write(block)
        if content.tell() > LARGEST_BYTES:
            raise _UnreadableError(f"more than {LARGEST_BYTES:,} bytes; save a smaller copy as a file")
        if time.monotonic() > ends:
            raise _UnreadableError(f"not fetched within {4 * SECONDS:.0f} s; save it as a file")
    announced = response.headers.get("Content-Length")
    if announced and announced.isdigit() and content.tell() < int(announced):
        raise _UnreadableError(f"the connection ended after {content.tell()} of {announced} bytes; try again")
    return content.getvalue()


def _header(content: bytes) -> "Image":
    """The image before it is decoded: its format and size."""
    from PIL import Image, UnidentifiedImageError

    if not content:
        raise _UnreadableError("is empty; was the file written whole?")
    for magic, layout in _SIZES:
        if content.startswith(magic) and len(content) >= struct.calcsize(layout):
            _check_size(*struct.unpack_from(layout, content))
    try:
        with _quietly():
            image = Image.open(io.BytesIO(content), formats=list(_SUFFIXES))
    except UnidentifiedImageError:
        raise _UnreadableError(f"{_NO_IMAGE}{_looks_like(content)}") from None
    except Image.DecompressionBombError:
        raise _UnreadableError(f"more than {LARGEST_PIXELS:,} pixels, which may be a decompression bomb; scale it "
                               "down") from None
    except Exception as error:  # noqa: BLE001 - broken headers make decoders raise dozens of kinds
        raise _broken(error) from None
    _check_size(*image.size)
    return image


def _check_size(width: int, height: int) -> None:
    if width == 0 or height == 0:
        raise _UnreadableError(f"{width} × {height} pixels: there is nothing to see; leave the image out")
    if width * abs(height) > LARGEST_PIXELS:  # a bitmap's height is negative where it is stored from the top
        raise _UnreadableError(f"{width} × {abs(height)} pixels, above {LARGEST_PIXELS:,}, which may be a "
                               "decompression bomb; scale it down")


def _looks_like(content: bytes) -> str:
    start = content[:256].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        return "; it is an HTML page, was a download refused?"
    if start.startswith((b"<svg", b"<?xml")):
        return "; it looks like SVG, save it as PNG"
    if start.startswith(b"version https://git-lfs"):
        return "; it is a Git LFS pointer, run git lfs pull"
    if content[:256].isascii() and all(byte >= 32 or byte in b"\t\r\n\f" for byte in content[:256]):
        return "; it is a text file"
    return "; was it cut, or is it another kind of file?"


def _picture(content: bytes) -> "Image":
    image = _header(content)
    try:
        with _quietly():
            image.load()
            return _upright(_on_white(image), _orientation(image))
    except (_UnreadableError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - broken images make decoders raise dozens of kinds
        raise _broken(error) from None


def _broken(error: Exception) -> _UnreadableError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return _UnreadableError(f"cannot be decoded: {reason[:200]}; was the file written whole?")


def _on_white(image: "Image") -> "Image":
    from PIL import Image

    if image.mode == "F":
        raise _UnreadableError("its pixels are floating-point numbers of no known range; save it with 8 bits")
    if image.mode.startswith("I"):
        return _of_wide_grey(image)
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), seen).convert("RGB")
    return image.convert("RGB")


def _of_wide_grey(image: "Image") -> "Image":
    """16 bits to 8: Pillow's own conversion cuts at 255."""
    import numpy as np
    from PIL import Image

    grey_HW = np.asarray(image).astype(np.int64)
    if grey_HW.min() < 0 or grey_HW.max() > 0xFFFF:
        raise _UnreadableError("its grey has more than 16 bits; save it with 8 bits")
    seen_HW = (grey_HW + 128) // 257
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        seen_HW[grey_HW == transparent] = 255
    return Image.fromarray(seen_HW.astype(np.uint8)).convert("RGB")


def _orientation(image: "Image") -> int:
    """How a camera was held, 1 where it does not say."""
    try:
        return int(image.getexif().get(_ROTATED, 1))
    except Exception:  # noqa: BLE001 - a broken note beside the pixels is no reason to refuse them
        return 1


def _upright(image: "Image", orientation: int) -> "Image":
    from PIL.Image import Transpose

    turns = {2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM,
             5: Transpose.TRANSPOSE, 6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90}
    return image.transpose(turns[orientation]) if orientation in turns else image


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without Pillow's warnings of odd notes in files. One at a time: the filters belong to the whole process."""
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
