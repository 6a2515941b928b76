"""From a prompt record to what the network reads."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jinja2.exceptions import TemplateError
from torch import Tensor

from sparkcli.errors import InputError
from sparkcli.files.images import load_images
from sparkcli.method.answers import final_answer
from sparkcli.method.messages import Chat, begun, checked_chat_of
from sparkcli.models.chat_template import plain, render
from sparkcli.models.processor import counts_pixels
from sparkcli.models.reader import Reader
from sparkcli.records import Prompt

if TYPE_CHECKING:
    from PIL.Image import Image


class TooLongError(InputError):
    """A prompt of more tokens than allowed, or than leave room for a reply."""

    def __init__(self, message: str, length: int) -> None:
        super().__init__(message)
        self.length = length
        """In tokens."""


@dataclass(frozen=True)
class Encoded:
    """A prompt as the network reads it."""

    token_ids: list[int]
    pixels: Mapping[str, Tensor] = field(default_factory=dict)
    """Images as a vision model's processor makes them, under the names it gives them, on the CPU; the first axis is
    that of images or of patches. Empty without images."""
    kinds_1T: Tensor | None = None
    """1 at image tokens, 0 at text, where the processor tells."""


def encode(prompt: Prompt, reader: Reader, max_tokens: int | None = None) -> Encoded:
    """The chat template applied to a prompt; the plain text where the model has no template.

    Args:
        prompt: a string is one user message; images go before its text.
        reader: the tokenizer, and the processor for images.
        max_tokens: a longer prompt is an error, never cut.

    Raises:
        InputError: too long, empty, images that cannot be read or for a model that reads none, messages that the
            template refuses, a begun reply that has its answer already, or image tokens that would have to attend to
            each other both ways.
    """
    chat = checked_chat_of(prompt)
    if chat.images and reader.processor is None:
        raise InputError(f"prompt {prompt.id!r}: has images, and {reader.name} reads text only; "
                         "give a vision-language model with -m")
    if chat.continues and final_answer(begun(prompt)) is not None:
        raise InputError(f"prompt {prompt.id!r}: the assistant's last message, which is to be continued, has an answer "
                         "already, which would pass for the model's; end it before the answer, or leave it out, as "
                         "`sparkcli prepare` does")
    pictures = load_pictures(prompt.id, chat.images, reader)
    try:
        _check_text(chat, reader)
        encoded = _encode_images(chat, pictures, reader) if pictures else Encoded(unexpanded(chat, reader))
    except (TemplateError, ValueError, TypeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"prompt {prompt.id!r}: the model's chat template or processor refuses it: "
                         f"{reason}") from error
    check_length(prompt, len(encoded.token_ids), reader, max_tokens)
    return encoded


def unexpanded(chat: Chat, reader: Reader) -> list[int]:
    """The tokens of a chat as the template writes them: what stands for an image is not as long as it yet. For text,
    and for samplers that have processors of their own."""
    tokenizer: Any = reader.tokenizer
    text = _rendered(chat, reader)
    if text is None:
        return list(tokenizer("\n\n".join(m["content"] for m in plain(chat.messages)), verbose=False)["input_ids"])
    return list(tokenizer(text, **_options(text, reader))["input_ids"])


def load_pictures(id: str, references: Sequence[str], reader: Reader) -> "list[Image]":
    """The images of prompt `id` as its processor is given them: RGB, scaled down to `reader.max_pixels` where the
    processor would not do that itself.

    Raises:
        InputError: names the prompt and the image that cannot be read.
    """
    pictures = load_images(id, references, allow_remote=reader.allow_remote_images)
    if not pictures or counts_pixels(reader.processor):
        return pictures
    return [scaled_down(picture, reader.max_pixels) for picture in pictures]


def scaled_down(picture: "Image", max_pixels: int) -> "Image":
    """The picture in its proportions, with so many pixels at most."""
    width, height = picture.size
    if width * height <= max_pixels:
        return picture
    scale = math.sqrt(max_pixels / (width * height))
    width = min(max(1, int(width * scale)), max_pixels)
    return picture.resize((width, min(max(1, int(height * scale)), max_pixels // width)))


def check_length(prompt: Prompt, length: int, reader: Reader, max_tokens: int | None) -> None:
    """Raises InputError where a prompt of `length` tokens is empty, longer than `max_tokens`, or leaves no room."""
    context = reader.context
    if length == 0:
        raise InputError(f"prompt {prompt.id!r}: is empty; the model needs at least one token to start from")
    if max_tokens is not None and length > max_tokens:
        shorten = "shorten it" if not checked_chat_of(prompt).images else "shorten it, lower --max-pixels"
        raise TooLongError(f"prompt {prompt.id!r}: {length} tokens are more than max_prompt_tokens ({max_tokens}); "
                           f"{shorten} or raise --max-prompt-tokens", length)
    if context is not None and length >= context:
        raise TooLongError(f"prompt {prompt.id!r}: {length} tokens leave no room in the model's context of {context}",
                           length)


def _check_text(chat: Chat, reader: Reader) -> None:
    """Raises ValueError where text has what stands for an image or, beside images, for a video: the network would look
    for one more."""
    names = ("image_token", "video_token") if chat.images else ("image_token",)
    markers = [str(marker) for name in names if (marker := getattr(reader.processor, name, None)) is not None]
    for message in chat.messages:
        text = "".join(part.get("text", "\n") for part in message["content"])  # as the template joins them
        if marker := next((marker for marker in markers if marker in text), None):
            raise ValueError(f"its text has {marker!r}, which stands for an image or a video; take it out, or give "
                             "the image")


def _encode_images(chat: Chat, pictures: "Sequence[Image]", reader: Reader) -> Encoded:
    """As the processor's own `apply_chat_template` does it, which would open images by itself."""
    processor: Any = reader.processor
    text = _rendered(chat, reader)
    if text is None:
        raise ValueError("the model has no chat template, which would say where images stand")
    inputs: dict[str, Any] = dict(processor(text=[text], images=[list(pictures)], return_tensors="pt",
                                            **_options(text, reader)))
    ids_1T = inputs.pop("input_ids")
    kinds_1T = inputs.pop("mm_token_type_ids", None)
    inputs.pop("attention_mask", None)
    for name, values in inputs.items():
        if values.shape == ids_1T.shape:
            raise ValueError(f"{type(processor).__name__} gives {name}: image tokens that attend to each other both "
                             "ways are not supported; take a model with causal attention, as Qwen2.5-VL or Qwen3-VL")
    return Encoded(ids_1T[0].tolist(), inputs, kinds_1T)


def _options(text: str, reader: Reader) -> dict[str, Any]:
    """Of turning rendered text into tokens. A template writes the marker that opens a text itself, or wants none; a
    processor adds it where the template does not."""
    begins = reader.tokenizer.bos_token
    opened = reader.processor is None or (begins is not None and text.startswith(begins))
    return {"verbose": False} | ({"add_special_tokens": False} if opened else {})  # `check_length` tells of long ones


def _rendered(chat: Chat, reader: Reader) -> str | None:
    return render(chat, reader.tokenizer, reader.processor, reader.chat_template_kwargs)
