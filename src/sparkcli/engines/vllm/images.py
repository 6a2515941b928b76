"""Prompts with images for vLLM, which makes pixels of them by itself: told to do it as `sparkcli.models.prompts` does.

It is given the prompt's tokens as the chat template writes them, a placeholder for each image, and the pictures. What
it makes of them is compared with what we read before anything is sampled.
"""

from collections.abc import Sequence
from typing import Any

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
    return {"prompt_token_ids": unexpanded(chat, reader),
            "multi_modal_data": {"image": load_pictures(prompt.id, chat.images, reader)},
            "mm_processor_kwargs": processing(reader)}


def difference(ours: Sequence[int], theirs: object) -> str | None:
    """How the tokens that vLLM has made of a prompt with images differ from ours; None where they do not.

    What is trained on would then not be what was sampled.
    """
    if theirs == ours:
        return None
    length = f"{len(theirs)} tokens" if isinstance(theirs, list) else "tokens that it does not tell"
    return (f"reads its images otherwise (as {length}, not {len(ours)}): the model's files and --max-pixels must be "
            "the same there and here")
