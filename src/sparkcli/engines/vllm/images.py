"""Prompts with images for vLLM, which makes pixels of them by itself: told to do it as `sparkcli.models.prompts` does.

It is given the prompt's tokens as the chat template writes them, a placeholder for each image, and the pictures. What
it makes of them is compared with what we read before anything is sampled.
"""

from typing import Any

from sparkcli.errors import InputError
from sparkcli.method.messages import chat_of
from sparkcli.models.processor import counts_pixels
from sparkcli.models.prompts import load_pictures, unexpanded
from sparkcli.models.reader import Reader
from sparkcli.records import Prompt


def processing(reader: Reader) -> dict[str, Any]:
    """What vLLM's processor is to be told so that it makes the pixels of ours."""
    if not counts_pixels(reader.processor):
        return {}
    assert reader.processor is not None
    return {"size": {edge: reader.processor.image_processor.size[edge] for edge in ("shortest_edge", "longest_edge")}}


def put(prompt: Prompt, reader: Reader) -> dict[str, Any]:
    """The prompt as vLLM's renderer takes it (`vllm.inputs.TokensPrompt`)."""
    chat = chat_of(prompt)
    return {"prompt_token_ids": unexpanded(chat.messages, reader),
            "multi_modal_data": {"image": load_pictures(prompt.id, chat.images, reader)},
            "mm_processor_kwargs": processing(reader)}


def check_same(prompt: Prompt, ours: list[int], theirs: object) -> None:
    """Raises InputError where vLLM has made other tokens of a prompt with images than we have.

    What is trained on would then not be what was sampled.
    """
    if theirs == ours:
        return
    length = len(theirs) if isinstance(theirs, list) else "no"
    raise InputError(f"prompt {prompt.id!r}: vllm reads its images otherwise ({length} tokens, not {len(ours)}); it "
                     "must have the same model folder and --max-pixels, or try --engine transformers")
