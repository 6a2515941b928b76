"""From a prompt record to what the network reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jinja2.exceptions import TemplateError
from torch import Tensor

from sparkcli.errors import InputError
from sparkcli.fields import Json
from sparkcli.models.reader import Reader
from sparkcli.records import Prompt

IMAGE_PARTS = ("image", "image_url")


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
        InputError: too long, empty, images for a model that reads none, or messages that the template refuses.
    """
    messages = _messages(prompt)
    has_images = any(part["type"] in IMAGE_PARTS for message in messages for part in message["content"])
    if has_images and reader.processor is None:
        raise InputError(f"prompt {prompt.id!r}: has images, and {reader.name} reads text only; "
                         "give a vision-language model with -m")
    try:
        encoded = _encode_images(messages, reader) if has_images else _encode_text(messages, reader)
    except (TemplateError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"prompt {prompt.id!r}: the model's chat template or processor refuses it: "
                         f"{reason}") from error
    _check_length(prompt, len(encoded.token_ids), reader, max_tokens)
    return encoded


def _messages(prompt: Prompt) -> list[dict[str, Json]]:
    """Chat messages whose content is always a list of parts; `images` of the record stand before the text."""
    if isinstance(prompt.prompt, str):
        messages: list[dict[str, Json]] = [{"role": "user", "content": prompt.prompt}]
    else:
        messages = prompt.prompt
    parted = [{**m, "content": [{"type": "text", "text": m["content"]}] if isinstance(m["content"], str)
               else m["content"]} for m in messages]
    placed = any(part["type"] in IMAGE_PARTS for message in parted for part in message["content"])
    if prompt.images and not placed:
        last = max((i for i, m in enumerate(parted) if m["role"] == "user"), default=len(parted) - 1)
        images = [{"type": "image", "image": image} for image in prompt.images]
        parted[last] = {**parted[last], "content": images + parted[last]["content"]}
    return parted


def _encode_text(messages: list[dict[str, Json]], reader: Reader) -> Encoded:
    plain = [{**m, "content": "\n".join(part["text"] for part in m["content"] if part["type"] == "text")}
             for m in messages]
    tokenizer: Any = reader.tokenizer
    if tokenizer.chat_template:
        text = tokenizer.apply_chat_template(plain, add_generation_prompt=True, tokenize=False)
        return Encoded(tokenizer(text, add_special_tokens=False)["input_ids"])
    return Encoded(tokenizer("\n\n".join(m["content"] for m in plain))["input_ids"])


def _encode_images(messages: list[dict[str, Json]], reader: Reader) -> Encoded:
    processor: Any = reader.processor
    inputs = dict(processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"))
    token_ids = inputs.pop("input_ids")[0].tolist()
    inputs.pop("attention_mask", None)
    return Encoded(token_ids, inputs)


def _check_length(prompt: Prompt, length: int, reader: Reader, max_tokens: int | None) -> None:
    context = reader.context
    if length == 0:
        raise InputError(f"prompt {prompt.id!r}: is empty; the model needs at least one token to start from")
    if max_tokens is not None and length > max_tokens:
        raise InputError(f"prompt {prompt.id!r}: {length} tokens are more than max_prompt_tokens ({max_tokens}); "
                         "shorten it or raise --max-prompt-tokens")
    if context is not None and length >= context:
        raise InputError(f"prompt {prompt.id!r}: {length} tokens leave no room in the model's context of {context}")
