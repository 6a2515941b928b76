"""Random vision-language models of other families than Qwen's, which transformers serves with no code of ours."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from tests.models.tiny import byte_tokenizer
from tests.models.vision import randomise
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from sparkcli.models.folders import write_json

Family = Literal["llava", "idefics3", "internvl", "paligemma"]

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}<image>{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 1024, "bos_token_id": None}
TOWER: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
    "patch_size": 8}
PIXELS = {"image_mean": [0.5, 0.45, 0.4], "image_std": [0.3, 0.25, 0.2]}


def write_architecture(folder: Path, family: Family, *, seed: int = 0) -> Path:
    """A random model of a family in a Hugging Face folder.

    LLaVA shows an image of 32 × 32 pixels as 16 tokens; Idefics3 and InternVL a row or two of tiles of that size, of
    4 tokens each, and the whole image beside them; PaliGemma lets image tokens attend to each other both ways.
    """
    tokenizer = _tokenizer(family)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network, processor = _FAMILIES[family](tokenizer)
        randomise(network)
    network.generation_config.eos_token_id = tokenizer.eos_token_id
    network.generation_config.pad_token_id = tokenizer.pad_token_id
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@dataclass(frozen=True)
class _Parts:
    """A processor that would have a part for videos, which takes torchvision: written without it."""

    images: Any
    tokenizer: PreTrainedTokenizerFast
    settings: dict[str, Any]

    def save_pretrained(self, folder: Path) -> None:
        self.images.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        write_json(folder / "processor_config.json", self.settings)


def _tokenizer(family: Family) -> PreTrainedTokenizerFast:
    tokenizer = byte_tokenizer()
    markers = ["<image>", "<img>", "</img>", "<video>", "<fake_token_around_image>", "<global-img>"]
    tokenizer.add_special_tokens({"additional_special_tokens": markers + [
        f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]})
    tokenizer.chat_template = CHAT_TEMPLATE
    if family == "internvl":
        tokenizer._set_model_specific_special_tokens({
            "start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<image>",
            "video_token": "<video>"})
    return tokenizer


def _text(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {**TEXT, "vocab_size": 512, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}


def _marker(tokenizer: PreTrainedTokenizerFast) -> Any:
    return tokenizer.convert_tokens_to_ids("<image>")


def _llava(tokenizer: PreTrainedTokenizerFast) -> tuple[PreTrainedModel, Any]:
    config = transformers.LlavaConfig(
        vision_config={**TOWER, "model_type": "clip_vision_model"}, text_config=_text(tokenizer),
        image_token_id=_marker(tokenizer), vision_feature_layer=-1)
    images = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, **PIXELS)
    return transformers.LlavaForConditionalGeneration(config), transformers.LlavaProcessor(
        images, tokenizer, patch_size=8, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE)


def _idefics3(tokenizer: PreTrainedTokenizerFast) -> tuple[PreTrainedModel, Any]:
    images = transformers.Idefics3ImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 32}, **PIXELS)
    processor = transformers.Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=CHAT_TEMPLATE)
    config = transformers.Idefics3Config(
        vision_config={**TOWER, "model_type": "idefics3_vision"}, text_config=_text(tokenizer), scale_factor=2,
        image_token_id=_marker(tokenizer), pad_token_id=tokenizer.pad_token_id)
    return transformers.Idefics3ForConditionalGeneration(config), processor


def _internvl(tokenizer: PreTrainedTokenizerFast) -> tuple[PreTrainedModel, Any]:
    config = transformers.InternVLConfig(
        vision_config={**TOWER, "image_size": [32, 32], "patch_size": [8, 8]}, text_config=_text(tokenizer),
        image_token_id=_marker(tokenizer), image_seq_length=4, tie_word_embeddings=False)
    images = transformers.GotOcr2ImageProcessorPil(
        size={"height": 32, "width": 32}, min_patches=1, max_patches=4, **PIXELS)
    return transformers.InternVLForConditionalGeneration(config), _Parts(
        images, tokenizer, {"processor_class": "InternVLProcessor", "image_seq_length": 4})


def _paligemma(tokenizer: PreTrainedTokenizerFast) -> tuple[PreTrainedModel, Any]:
    config = transformers.PaliGemmaConfig(
        vision_config={**TOWER, "model_type": "siglip_vision_model", "vision_use_head": False},
        text_config={**_text(tokenizer), "model_type": "gemma", "head_dim": 16}, image_token_id=_marker(tokenizer),
        projection_dim=64)
    images = transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32}, **PIXELS)
    images.image_seq_length = 16
    tokenizer.bos_token = "<|endoftext|>"
    return transformers.PaliGemmaForConditionalGeneration(config), transformers.PaliGemmaProcessor(
        images, tokenizer, chat_template=CHAT_TEMPLATE)


_FAMILIES = {"llava": _llava, "idefics3": _idefics3, "internvl": _internvl, "paligemma": _paligemma}
