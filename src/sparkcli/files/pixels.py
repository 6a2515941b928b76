"""Encoded bytes → the picture a model sees: RGB, upright, the first frame, transparent parts on white.

What is not whole is refused: a model must not be shown half a picture. So is what has more pixels than
`LARGEST_PIXELS`, before it is decoded. Only formats that are pictures and nothing else are opened (no PostScript, no
SVG).
"""

import contextlib
import io
import re
import struct
import threading
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST_PIXELS = 89_478_485
"""Above it Pillow warns of a decompression bomb: a quarter of a gigabyte of RGB."""

_SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "MPO": ".jpg", "GIF": ".gif", "WEBP": ".webp", "BMP": ".bmp",
             "TIFF": ".tiff", "PPM": ".ppm", "JPEG2000": ".jp2", "AVIF": ".avif"}
"""Formats that are read, by Pillow's names. MPO, several JPEGs in one file, is opened as JPEG."""
_SIZES = ((re.compile(rb"\x89PNG\r\n\x1a\n"), ">16xII"), (re.compile(rb"GIF8[79]a"), "<6xHH"),
          (re.compile(rb"BM.{12}[\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL), "<18xii"))
"""Where headers say width and height: Pillow does not know an image without pixels as an image."""
_NO_IMAGE = "no image in a format that is read (PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000)"
_ROTATED = 0x0112
"""The EXIF tag `Orientation`."""
_QUIET = threading.Lock()


class UnreadableError(Exception):
    """What is wrong with an image, and what to try; whoever knows its name puts it before."""


def suffix(content: bytes) -> str:
    """Of a file that holds these bytes, by their real format. Raises UnreadableError: no image by its header."""
    return _SUFFIXES[_header(content).format or ""]


def picture(content: bytes) -> "Image":
    """The picture in encoded bytes. Raises UnreadableError: no image, not a whole one, or too large."""
    image, checked = _header(content), _header(content)
    try:
        with _quietly():
            if checked.format == "PNG":  # the one format with checksums, which decoding does not look at
                checked.verify()
            image.load()
            return _upright(_on_white(image), _orientation(image))
    except (UnreadableError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - broken images make decoders raise dozens of kinds
        raise _broken(error) from None


def _header(content: bytes) -> "Image":
    """The image before it is decoded: its format and size."""
    from PIL import Image, UnidentifiedImageError

    if not content:
        raise UnreadableError("is empty; was the file written whole?")
    for begins, layout in _SIZES:
        if begins.match(content) and len(content) >= struct.calcsize(layout):
            _check_size(*struct.unpack_from(layout, content))
    try:
        with _quietly():
            image = Image.open(io.BytesIO(content), formats=[name for name in _SUFFIXES if name != "MPO"])
    except UnidentifiedImageError:
        raise UnreadableError(f"{_NO_IMAGE}{_looks_like(content)}") from None
    except Image.DecompressionBombError:
        raise UnreadableError(f"more than {LARGEST_PIXELS:,} pixels, which may be a decompression bomb; scale it "
                               "down") from None
    except Exception as error:  # noqa: BLE001 - broken headers make decoders raise dozens of kinds
        raise _broken(error) from None
    _check_size(*image.size)
    return image


def _check_size(width: int, height: int) -> None:
    if width == 0 or height == 0:
        raise UnreadableError(f"{width} × {height} pixels: there is nothing to see; leave the image out")
    if width * abs(height) > LARGEST_PIXELS:  # a bitmap's height is negative where it is stored from the top
        raise UnreadableError(f"{width} × {abs(height)} pixels, above {LARGEST_PIXELS:,}, which may be a "
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


def _broken(error: Exception) -> UnreadableError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return UnreadableError(f"cannot be decoded: {reason[:200]}; was the file written whole?")


def _on_white(image: "Image") -> "Image":
    from PIL import Image

    if image.mode == "F":
        raise UnreadableError("its pixels are floating-point numbers of no known range; save it with 8 bits")
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
        raise UnreadableError("its grey has more than 16 bits; save it with 8 bits")
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
