"""A prompt as chat messages whose parts are text and images, each image at its place."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparkcli.errors import InputError
from sparkcli.records import IMAGE_PARTS, IMAGE_SOURCES, Prompt

Message = dict[str, Any]

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Chat:
    """What a model is shown."""

    messages: list[Message]
    """`role` and `content`, which is always a list of `{"type": "text", "text": …}` and `{"type": "image"}`."""
    images: list[str]
    """Paths, URLs or data URIs: one for each image part, in order."""
    tools: Sequence[Mapping[str, Any]] = ()
    """What the model may call, as JSON schemas."""
    variables: Mapping[str, Any] | None = None
    """Of the chat template, over those of the settings."""

    @property
    def continues(self) -> bool:
        """Whether the last message is the beginning of the reply."""
        return bool(self.messages[-1]["role"] == "assistant")


def chat_of(prompt: Prompt) -> Chat:
    """The messages of a prompt.

    A string is one user message. Image parts that name no image of their own take those of `images` in turn; without
    any image part `images` stand before the text of the last user message.

    Raises:
        InputError: more images than places for them, or fewer; a part that is neither text nor image.
    """
    messages = [{"role": "user", "content": prompt.prompt}] if isinstance(prompt.prompt, str) else prompt.prompt
    parted = [{**message, "content": _parts(message.get("content"))} for message in messages]
    if prompt.images and not any(part["type"] in IMAGE_PARTS for message in parted for part in message["content"]):
        last = max((i for i, m in enumerate(parted) if m["role"] == "user"), default=len(parted) - 1)
        parted[last]["content"] = [{"type": "image"} for _ in prompt.images] + parted[last]["content"]
    images: list[str] = []
    waiting, places = iter(prompt.images), 0
    for message in parted:
        for part in message["content"]:
            own = source_of(part, prompt.id) if part["type"] in IMAGE_PARTS else None
            if part["type"] in IMAGE_PARTS:
                places += own is None
                images += [own] if own is not None else [next(waiting, "")]
        message["content"] = list(_plain(message["content"], prompt.id))
    if places != len(prompt.images):
        raise InputError(f"prompt {prompt.id!r}: images: {len(prompt.images)} for {places} places in the prompt; "
                         "there must be an image for each place, and a place for each image")
    return Chat(parted, images, prompt.tools, prompt.chat_template_kwargs)


def checked_chat_of(prompt: Prompt) -> Chat:
    """As `chat_of`, of text that tokenizers and servers take.

    Raises:
        InputError: as `chat_of`; or a message holds half of a surrogate pair.
    """
    chat = chat_of(prompt)
    for number, message in enumerate(chat.messages, 1):
        for part in message["content"]:
            if found := _SURROGATE.search(part.get("text", "")):
                raise InputError(f"prompt {prompt.id!r}: message {number} ({message['role']}), character "
                                 f"{found.start() + 1}: \\u{ord(found[0]):x} is half of a surrogate pair, and no "
                                 "text; repair or drop it")
    return chat


def begun(prompt: Prompt) -> str:
    """The text of the last message where that is the assistant's, which its completions then begin with."""
    if isinstance(prompt.prompt, str) or prompt.prompt[-1]["role"] != "assistant":
        return ""
    return "\n".join(part["text"] for part in _parts(prompt.prompt[-1].get("content")) if part["type"] == "text")


def source_of(part: Message, id: str) -> str | None:
    """The image that an image part names itself; None where it takes the next of `images`.

    Raises:
        InputError: what it names is no text.
    """
    if part["type"] == "image_url":
        told = part.get("image_url")
        found = told.get("url") if isinstance(told, dict) else told
    else:
        found = next((part[name] for name in IMAGE_SOURCES if part.get(name) is not None), None)
        if found is None:
            return None
    if not isinstance(found, str) or not found:
        raise InputError(f"prompt {id!r}: an {part['type']} part: expected a path, a URL or a data URI, "
                         f"found {type(found).__name__}")
    return found


def _parts(content: Any) -> list[Message]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or []


def _plain(parts: list[Message], id: str) -> Iterator[Message]:
    for part in parts:
        if part["type"] in IMAGE_PARTS:
            yield {"type": "image"}
        elif part["type"] == "text":
            yield {"type": "text", "text": part["text"]}
        else:
            raise InputError(f"prompt {id!r}: a part of type {part['type']!r}: only text and images can be read")
