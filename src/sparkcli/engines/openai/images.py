"""Images as chat servers take them: within the messages, as data URIs.

A file is sent as it is stored where anybody who decodes it sees what we see; else its pixels, as PNG: turned upright,
on white, scaled down. What is fetched from an address is sent in the same way, and the address is not.
"""

import base64
import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sparkcli.files.images import is_remote, read_image
from sparkcli.method.messages import Chat

if TYPE_CHECKING:
    from PIL.Image import Image

SENT_AS_STORED = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
"""Formats that every server reads, and their media types."""


def messages_with(chat: Chat, pictures: "Sequence[Image]") -> list[dict[str, Any]]:
    """The messages of OpenAI's interface, each image at its place.

    Args:
        chat: messages with places for images, and where those are from.
        pictures: the images as they are to be seen, in order.
    """
    urls = (data_uri(reference, picture) for reference, picture in zip(chat.images, pictures, strict=True))
    return [{**message, "content": [
        {"type": "image_url", "image_url": {"url": next(urls)}} if part["type"] == "image" else part
        for part in message["content"]]} for message in chat.messages]


def data_uri(reference: str, picture: "Image") -> str:
    """The image behind a reference, which is seen as `picture`, within a URI."""
    content = b"" if is_remote(reference) else read_image(reference, allow_remote=False)
    kind = _kind(content, picture) if content else None
    if kind is None:
        written = io.BytesIO()
        picture.save(written, "PNG")
        kind, content = SENT_AS_STORED["PNG"], written.getvalue()
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _kind(content: bytes, picture: "Image") -> str | None:
    """The media type of a still image that a plain decoder shows as `picture`; None where it shows another."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd notes in files
        stored = Image.open(io.BytesIO(content))
        plain = stored.size == picture.size and not getattr(stored, "is_animated", False)
        same = plain and stored.convert("RGB").tobytes() == picture.tobytes()
    return SENT_AS_STORED.get(stored.format or "") if same else None
