"""Small copies of images, each made once however many prompts show it; one that cannot be opened says why."""

import base64
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sparkcli.errors import InputError
from sparkcli.files.images import load_image, told
from sparkcli.method.messages import Chat, chat_of
from sparkcli.records import Prompt

SIDE = 320
"""Pixels of a small copy's longer side."""
MOST = 1000
"""Images on a page, beyond which only those of prompts that are shown are copied."""


@dataclass(slots=True)
class Picture:
    """An image as the page shows it: its small copy, or why there is none."""

    number: int
    name: str
    first: str
    """Id of the first prompt that shows it."""
    prompts: int = 0
    uri: str | None = None
    width: int = 0
    height: int = 0
    """Of the image itself, in pixels."""
    shape: tuple[int, int] = (0, 0)
    """Width and height of the small copy."""
    problem: str | None = None


@dataclass
class Album:
    """The images of a page, in the order in which prompts show them."""

    allow_remote: bool = False
    pictures: dict[bytes, Picture] = field(default_factory=dict)
    left_out: set[bytes] = field(default_factory=set)
    misplaced: int = 0
    """Prompts whose images and places do not match."""

    def see(self, told_as: Prompt, absolute: Prompt) -> None:
        """Copies the images of a prompt, as long as there is room. `told_as`: the prompt as its file has it."""
        try:
            pairs = list(zip(chat_of(told_as).images, chat_of(absolute).images, strict=True))
        except InputError:
            self.misplaced += 1
            return
        for name, reference in dict.fromkeys(pairs):
            key = _key(reference)
            if key not in self.pictures and len(self.pictures) >= MOST:
                self.left_out.add(key)
            else:
                self._picture(name, reference, told_as.id).prompts += 1

    def shown(self, told_as: Prompt, absolute: Prompt) -> "tuple[Chat, list[Picture]]":
        """The messages of a prompt and its pictures, one for each image part.

        Raises:
            InputError: there are more images than places, or fewer.
        """
        chat = chat_of(told_as)
        pairs = zip(chat.images, chat_of(absolute).images, strict=True)
        return chat, [self._picture(name, reference, told_as.id) for name, reference in pairs]

    def __iter__(self) -> Iterator[Picture]:
        return iter(self.pictures.values())

    @property
    def closed(self) -> int:
        """How many cannot be opened."""
        return sum(picture.problem is not None for picture in self)

    def _picture(self, name: str, reference: str, id: str) -> Picture:
        key = _key(reference)
        if key not in self.pictures:
            self.left_out.discard(key)
            self.pictures[key] = picture = Picture(len(self.pictures) + 1, told(name), id)
            self._fill(picture, reference)
        return self.pictures[key]

    def _fill(self, picture: Picture, reference: str) -> None:
        try:
            image = load_image(reference, allow_remote=self.allow_remote)
        except InputError as error:
            picture.problem = str(error).removeprefix(f"{told(reference)}: ")
            return
        picture.width, picture.height = image.size
        image.thumbnail((SIDE, SIDE))
        picture.shape, picture.uri = image.size, data_uri(image)


def data_uri(image: Any) -> str:
    """An RGB image as PNG or JPEG, whichever is shorter."""
    encoded = [("png", _encoded(image, "PNG", optimize=True)), ("jpeg", _encoded(image, "JPEG", quality=80))]
    kind, content = min(encoded, key=lambda pair: len(pair[1]))
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _encoded(image: Any, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _key(reference: str) -> bytes:
    return hashlib.sha256(reference.encode("utf-8", "surrogatepass")).digest()
