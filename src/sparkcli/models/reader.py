"""How a model reads prompts and how its replies end: what sampling needs of it beside the weights."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from transformers import PreTrainedTokenizerBase

from sparkcli.config import ModelConfig
from sparkcli.method.thoughts import opens_thought
from sparkcli.models.network import load_architecture, load_tokenizer
from sparkcli.models.processor import load_processor

CHAT_END_MARKERS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>")
"""Markers that close a message. Some checkpoints with a chat template do not name theirs as end of sequence."""
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
    """Tokens that end a completion: those the generation settings and the tokenizer name, and the chat's end marker."""
    max_pixels: int
    """Of an image as the model sees it."""
    allow_remote_images: bool
    """Whether images that prompts name by http or https are fetched."""

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
        generation = transformers.GenerationConfig.from_pretrained(folder)
    except OSError:  # the file is optional
        generation = transformers.GenerationConfig.from_model_config(architecture)
    tokenizer = load_tokenizer(folder, config)
    context = getattr(architecture.get_text_config(), "max_position_embeddings", None)
    return Reader(config.name, tokenizer, load_processor(folder, config, architecture),
                  context if context and context > 0 else None,  # some write −1 where there is no limit
                  stop_ids(tokenizer, generation), config.max_pixels, config.allow_remote_images)


def stop_ids(tokenizer: PreTrainedTokenizerBase, generation: transformers.GenerationConfig) -> list[int]:
    """See `Reader.stop_ids`."""
    named = generation.eos_token_id
    ids = set(named if isinstance(named, list) else [named])
    ids.add(tokenizer.eos_token_id)
    if tokenizer.chat_template:
        vocabulary = tokenizer.get_added_vocab()
        ids.update(vocabulary.get(marker) for marker in CHAT_END_MARKERS)
    return sorted(i for i in ids if i is not None)
