"""How a model reads prompts and how its replies end: what sampling needs of it beside the weights."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import transformers
from transformers import PreTrainedTokenizerBase

from sparkcli.config import ModelConfig
from sparkcli.errors import UsageError
from sparkcli.method.thoughts import opens_thought
from sparkcli.models.chat_template import check_variables, end_of_turn
from sparkcli.models.network import load_architecture, load_tokenizer
from sparkcli.models.processor import load_processor

_TAIL = 64
"""Tokens at the end of a prompt that may begin a thought."""


@dataclass(frozen=True, eq=False)
class Reader:
    """The tokenizer of a model, with what else its folder says about text."""

    name: str
    """The model as the user named it."""
    tokenizer: PreTrainedTokenizerBase
    processor: Any | None
    """Turns images into pixel inputs; None for a model that reads text only."""
    context: int | None
    """Positions the model was made for, prompt and completion together; None where it names no limit."""
    stop_ids: Sequence[int]
    """Tokens that end a completion, see `stop_ids`."""
    max_pixels: int
    """Of an image as the model sees it."""
    allow_remote_images: bool
    """Whether images that prompts name by http or https are fetched."""
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Variables of the chat template; a prompt's own come before these."""

    def room(self, prompt_tokens: int, max_tokens: int) -> int:
        """New tokens that a completion can have: `max_tokens`, or what the context leaves."""
        return max_tokens if self.context is None else min(max_tokens, self.context - prompt_tokens)

    def texts(self, rows: Iterable[Sequence[int]]) -> list[str]:
        """Completions as text, without the markers of their end. Other special tokens stay: some tokenizers have those
        of thoughts and channels among them, and what is a thought must be told from what is an answer."""
        silent = self.silent_ids
        texts: list[str] = self.tokenizer.batch_decode(
            [[i for i in row if i not in silent] for row in rows], skip_special_tokens=False,
            clean_up_tokenization_spaces=False)
        return texts

    @functools.cached_property
    def silent_ids(self) -> frozenset[int]:
        """Tokens that are no text: those that stop a completion, begin or fill up a sequence, or stand for no
        character."""
        names = ("bos", "eos", "pad", "unk", "sep", "cls", "mask")
        named = (getattr(self.tokenizer, f"{name}_token_id") for name in names)
        return frozenset(i for i in (*self.stop_ids, *named) if i is not None)

    def opens_thought(self, prompt_token_ids: Sequence[int]) -> bool:
        """Whether a prompt ends with the begin of a thought, as the chat templates of some models have it."""
        tail: Any = self.tokenizer.decode(list(prompt_token_ids[-_TAIL:]), skip_special_tokens=False)
        return opens_thought(tail)


def load_reader(folder: Path, config: ModelConfig) -> Reader:
    """The reader of the model in `folder`, without its weights.

    Raises:
        UsageError: there is no configuration or tokenizer that transformers can load.
    """
    architecture = load_architecture(folder, config)
    try:
        check_variables(config.chat_template_kwargs or {})
    except ValueError as error:
        raise UsageError(str(error)) from None
    tokenizer, processor = load_tokenizer(folder, config), load_processor(folder, config, architecture)
    context = getattr(architecture.get_text_config(), "max_position_embeddings", None)
    if context is not None and context <= 0:  # some write −1 where there is no limit
        context = None
    return Reader(config.name, tokenizer, processor, context, _ends(folder, tokenizer, processor, architecture),
                  config.max_pixels, config.allow_remote_images, config.chat_template_kwargs or {})


def _ends(folder: Path, tokenizer: PreTrainedTokenizerBase, processor: Any | None,
          architecture: transformers.PreTrainedConfig) -> list[int]:
    """The stop tokens of the model in `folder`, whose configuration is asked where it declares none for generation."""
    try:
        generation = transformers.GenerationConfig.from_pretrained(folder)
    except OSError:  # the file is optional
        generation = transformers.GenerationConfig()
    ends = stop_ids(tokenizer, generation, processor)
    if generation.eos_token_id is None:
        configured = transformers.GenerationConfig.from_model_config(architecture)
        ends = sorted({*ends, *_listed(configured.eos_token_id)})
    return ends


def stop_ids(tokenizer: PreTrainedTokenizerBase, generation: transformers.GenerationConfig,
             processor: Any | None = None) -> list[int]:
    """The tokens that end a completion.

    They are those that the generation settings declare, as in transformers' `generate`, and the tokenizer's end of
    sequence, as in vLLM. The marker that the chat template puts behind a reply counts only where the settings declare
    nothing: some replies go on behind what closes a message (gpt-oss closes its analysis so).
    """
    declared = _listed(generation.eos_token_id)
    ends = {*declared, *_listed(tokenizer.eos_token_id)}
    if not declared:
        ends.update(_listed(end_of_turn(tokenizer, processor)))
    return sorted(ends)


def _listed(ids: Any) -> list[int]:
    return [] if ids is None else ids if isinstance(ids, list) else [ids]
