"""Places of images in a question: `<image>`, `<image1>`, `<image 1>`, `<image_1>` become image parts of a message.

`<image>` takes the images in turn, and there must be as many places as images. A number takes the image of that
number, as often as it stands there. Images of which no number speaks are

- not sent where they come from columns of their own (`image_1` … `image_7`: tables fill some that a question does not
  need, and leave them out themselves);
- an error where they come as a list, which has no such habit.

Without places the images stay in front of the text. So does the one picture of a row that holds several figures, which
the question tells apart by number: such pictures (MathVision's) have `<image1>:`, `<image2>:` written over the figures,
and the text keeps these names. `<image>…</image>` is markup and no place.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sparkcli.errors import InputError
from sparkcli.records import IMAGE_PARTS

Part = dict[str, Any]
Place = tuple[str, int | None]
"""A place as it is written, and its number."""
_PLACE = re.compile(r"<image(?:[ _]?(\d{1,3}))?>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Images:
    """The images of one row by number; how they came: in numbered columns, as a list, or as the only one."""

    by_number: Mapping[int, str]
    came: Literal["columns", "list", "one"]


def placed(prompt: Any, images: Images, where: str, tell: Callable[[str], None]) -> tuple[Any, list[str]]:
    """The prompt with image parts at their places, and the images in the order of these parts.

    Args:
        prompt: text, or chat messages with text only; messages that have image parts are left as they are.
        tell: is told what was not taken literally, in a few words without the row.

    Raises:
        InputError: places and images do not match; opens with `where`.
    """
    texts = list(_texts(prompt))
    found = [(match[0], int(match[1]) if match[1] else None) for text in texts for match in _PLACE.finditer(text)]
    every = list(images.by_number.values())
    if not found or _has_image_parts(prompt) or any("</image>" in text.lower() for text in texts):
        return prompt, every
    if not every:
        raise InputError(f"{where}: {found[0][0]} in the question, and the row has no image; name the column that has "
                         "it with --map images=COLUMN")
    numbers = {number for _, number in found}
    if images.came == "one" and len(numbers - {None}) > 1:
        tell("one picture of several figures stands before the question, which goes on naming them <image1> …")
        return prompt, every
    shown = _in_turn(found, every, where) if numbers == {None} else _numbered(found, images, where, tell)
    return _with_parts(prompt), shown


def _in_turn(found: Sequence[Place], every: list[str], where: str) -> list[str]:
    if len(found) != len(every):
        raise InputError(f"{where}: {_counted(len(every), 'image')} for {_counted(len(found), 'place')} (<image>) in "
                         "the question; there must be an image for each place, and a place for each image")
    return every


def _numbered(found: Sequence[Place], images: Images, where: str, tell: Callable[[str], None]) -> list[str]:
    known = {number: images.by_number[1] for _, number in found} if images.came == "one" else images.by_number
    for text, number in found:
        if number is None:
            raise InputError(f"{where}: {text} beside numbered places in one question; number all places or none")
        if number not in known:
            raise InputError(f"{where}: {text} in the question, and the row has only image "
                             f"{', '.join(map(str, known))}; there must be an image for each place")
    numbers = [number for _, number in found if number is not None]
    unmentioned = [number for number in known if number not in numbers]
    if unmentioned and images.came == "list":
        raise InputError(f"{where}: {_counted(len(known), 'image')}, and no place in the question for image "
                         f"{', '.join(map(str, unmentioned))}; there must be a place for each image")
    if unmentioned:
        tell("an image of which the question does not speak is not sent")
    return [known[number] for number in numbers]


def _texts(prompt: Any) -> Iterator[str]:
    """The texts of a prompt in their order; what is not of the expected shape is left to the record to refuse."""
    if isinstance(prompt, str):
        yield prompt
        return
    for message in prompt:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, str):
            yield content
        elif isinstance(content, list):
            yield from (part["text"] for part in content if _is_text(part))


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _has_image_parts(prompt: Any) -> bool:
    return not isinstance(prompt, str) and any(
        isinstance(part, dict) and part.get("type") in IMAGE_PARTS
        for message in prompt if isinstance(message, dict) and isinstance(message.get("content"), list)
        for part in message["content"])


def _with_parts(prompt: Any) -> Any:
    if isinstance(prompt, str):
        return [{"role": "user", "content": _parts(prompt)}]
    return [_message(message) for message in prompt]


def _message(message: Any) -> Any:
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str) and _PLACE.search(content):
        return {**message, "content": _parts(content)}
    if isinstance(content, list):
        return {**message, "content": [new for part in content for new in (
            _parts(part["text"]) if _is_text(part) else [part])]}
    return message


def _parts(text: str) -> list[Part]:
    """An image part at each place, and the text around them."""
    parts: list[Part] = []
    begin = 0
    for match in _PLACE.finditer(text):
        parts += [*_text_part(text[begin:match.start()]), {"type": "image"}]
        begin = match.end()
    return [*parts, *_text_part(text[begin:])]


def _text_part(text: str) -> list[Part]:
    return [{"type": "text", "text": text}] if text else []


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
