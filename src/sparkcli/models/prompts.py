"""From a prompt record to what the network reads, and which tokens end its reply."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jinja2.exceptions import TemplateError
from torch import Tensor

from sparkcli.errors import InputError
from sparkcli.fields import Json
from sparkcli.models.policy import Policy
from sparkcli.records import Prompt

CHAT_END_MARKERS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>")
"""Markers that close a message. Some checkpoints with a chat template do not name theirs as end of sequence."""

IMAGE_PARTS = ("image", "image_url")


@dataclass(frozen=True)
class Encoded:
    """A prompt as the network reads it."""

    token_ids: list[int]
    pixels: Mapping[str, Tensor] = field(default_factory=dict)
    """Further inputs of a vision model, as its processor names them; empty without images."""


def encode(prompt: Prompt, policy: Policy, max_tokens: int | None = None) -> Encoded:
    """The chat template applied to a prompt; the plain text where the model has no template.

    Args:
        prompt: a string is one user message; images go before its text.
        policy: the tokenizer, and the processor for images.
        max_tokens: a longer prompt is an error, never cut.

    Raises:
        InputError: too long, empty, images for a model that reads none, or messages that the template refuses.
    """
    messages = _messages(prompt)
    has_images = any(part["type"] in IMAGE_PARTS for message in messages for part in message["content"])
    if has_images and policy.processor is None:
        raise InputError(f"prompt {prompt.id!r}: has images, and {policy.name} reads text only; "
                         "give a vision-language model with -m")
    try:
        encoded = _encode_images(messages, policy) if has_images else _encode_text(messages, policy)
    except (TemplateError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"prompt {prompt.id!r}: the model's chat template or processor refuses it: "
                         f"{reason}") from error
    _check_length(prompt, len(encoded.token_ids), policy, max_tokens)
    return encoded


def context_length(policy: Policy) -> int | None:
    """Positions the model was made for, prompt and completion together; None where it names no limit."""
    return getattr(policy.network.config.get_text_config(), "max_position_embeddings", None)


def stop_ids(policy: Policy) -> list[int]:
    """Tokens that end a completion: those the generation settings and the tokenizer name, and the chat's end marker."""
    generation = getattr(policy.network, "generation_config", None)
    named = getattr(generation, "eos_token_id", None)
    ids = set(named if isinstance(named, list) else [named])
    ids.add(policy.tokenizer.eos_token_id)
    if policy.tokenizer.chat_template:
        vocabulary = policy.tokenizer.get_added_vocab()
        ids.update(vocabulary.get(marker) for marker in CHAT_END_MARKERS)
    return sorted(i for i in ids if i is not None)


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


def _encode_text(messages: list[dict[str, Json]], policy: Policy) -> Encoded:
    plain = [{**m, "content": "\n".join(part["text"] for part in m["content"] if part["type"] == "text")}
             for m in messages]
    tokenizer: Any = policy.tokenizer
    if tokenizer.chat_template:
        text = tokenizer.apply_chat_template(plain, add_generation_prompt=True, tokenize=False)
        return Encoded(tokenizer(text, add_special_tokens=False)["input_ids"])
    return Encoded(tokenizer("\n\n".join(m["content"] for m in plain))["input_ids"])


def _encode_images(messages: list[dict[str, Json]], policy: Policy) -> Encoded:
    processor: Any = policy.processor
    inputs = dict(processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"))
    token_ids = inputs.pop("input_ids")[0].tolist()
    inputs.pop("attention_mask", None)
    return Encoded(token_ids, inputs)


def _check_length(prompt: Prompt, length: int, policy: Policy, max_tokens: int | None) -> None:
    context = context_length(policy)
    if length == 0:
        raise InputError(f"prompt {prompt.id!r}: is empty; the model needs at least one token to start from")
    if max_tokens is not None and length > max_tokens:
        raise InputError(f"prompt {prompt.id!r}: {length} tokens are more than max_prompt_tokens ({max_tokens}); "
                         "shorten it or raise --max-prompt-tokens")
    if context is not None and length >= context:
        raise InputError(f"prompt {prompt.id!r}: {length} tokens leave no room in the model's context of {context}")
