"""Vision-language networks of random weights for tests, with processor and chat template, and pictures for them."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import transformers
from PIL import Image
from tests.models.tiny import byte_tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from sparkcli.models.folders import write_json

Kind = Literal["qwen2_5_vl", "qwen3_vl"]

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}<|vision_start|><|image_pad|><|vision_end|>{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
VISION_MARKERS = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]

MOST_PIXELS = 128 * 128
"""Of an image, as the preprocessor's own settings have it: 64 image tokens."""

PICTURES = {"square": (64, 64), "other": (64, 64), "wide": (100, 40), "odd": (37, 53), "small": (9, 14),
            "large": (300, 200)}
"""Width and height; `small` has to be enlarged, and `large` is more than `MOST_PIXELS`."""

PATCH = 8
TEXT: dict[str, Any] = {
    "hidden_size": 128, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 1024, "rms_norm_eps": 1e-6, "bos_token_id": None}
VISION: dict[str, Any] = {  # multiples of 64 wide, the blocks of NF4
    "depth": 2, "hidden_size": 64, "intermediate_size": 128, "num_heads": 2, "patch_size": PATCH,
    "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": TEXT["hidden_size"]}


def write_vision_model(folder: Path, *, kind: Kind = "qwen2_5_vl", seed: int = 0, eos_bias: float = 0.0) -> Path:
    """A random vision-language model in a Hugging Face folder; an image token stands for 16 × 16 pixels.

    Qwen2.5-VL's first vision layer attends within windows of 32 × 32 pixels; Qwen3-VL adds what its first vision layer
    gives to the first text layer (deepstack). `eos_bias` is that of `tests.models.tiny.write_model`.
    """
    tokenizer = vision_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = _qwen(kind, tokenizer)
        randomise(network)
        with torch.no_grad():
            network.get_output_embeddings().weight[tokenizer.eos_token_id] *= 1.0 + eos_bias
    network.generation_config.eos_token_id = tokenizer.eos_token_id
    network.generation_config.pad_token_id = tokenizer.pad_token_id
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_json(folder / "preprocessor_config.json", preprocessor_settings(kind))
    return folder


def write_pictures(folder: Path) -> dict[str, str]:
    """Pictures of `PICTURES` as PNG files, each with coarse structure and fine noise of its own; paths by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, (width, height)) in enumerate(PICTURES.items()):
        draws = np.random.default_rng(number)
        coarse = Image.fromarray(draws.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((width, height), 0)
        noise = draws.integers(-30, 30, (height, width, 3))
        Image.fromarray(np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8)).save(folder / f"{name}.png")
    return {name: str(folder / f"{name}.png") for name in PICTURES}


def vision_tokenizer() -> PreTrainedTokenizerFast:
    """Every byte a token, the markers of the chat, and those of images."""
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": VISION_MARKERS})
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def preprocessor_settings(kind: Kind) -> dict[str, Any]:
    """Every setting named, as vLLM normalises by what is written and not by what transformers takes for granted."""
    name = "Qwen2_5_VLProcessor" if kind == "qwen2_5_vl" else "Qwen3VLProcessor"
    return {"processor_class": name, "image_processor_type": "Qwen2VLImageProcessor",
            "do_convert_rgb": True, "do_resize": True, "resample": 3,
            "size": {"shortest_edge": 32 * 32, "longest_edge": MOST_PIXELS},
            "do_rescale": True, "rescale_factor": 1 / 255,
            "do_normalize": True, "image_mean": [0.5, 0.45, 0.4], "image_std": [0.3, 0.25, 0.2],
            "patch_size": PATCH, "temporal_patch_size": 2, "merge_size": 2}


def randomise(network: PreTrainedModel) -> None:
    """Weights as large as leave distributions far from uniform, yet numbers of ordinary size."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim >= 2:
                inputs = 1 if "embed" in name and parameter.ndim == 2 else parameter[0].numel()
                parameter.normal_(std=1.5 * inputs**-0.5)
            elif name.endswith("bias"):
                parameter.normal_(std=0.1)


def _qwen(kind: Kind, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    ids = dict(zip(("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id"),
                   tokenizer.convert_tokens_to_ids(VISION_MARKERS), strict=True))
    text = {**TEXT, "vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id}
    rope = {"rope_type": "default", "rope_theta": 1000.0, "mrope_section": [4, 6, 6]}
    if kind == "qwen2_5_vl":
        return transformers.Qwen2_5_VLForConditionalGeneration(transformers.Qwen2_5_VLConfig(
            text_config={**text, "rope_parameters": rope},
            vision_config={**VISION, "window_size": 4 * PATCH, "fullatt_block_indexes": [1]}, **ids))
    return transformers.Qwen3VLForConditionalGeneration(transformers.Qwen3VLConfig(
        text_config={**text, "head_dim": 32, "rope_parameters": {**rope, "mrope_interleaved": True}},
        vision_config={**VISION, "num_position_embeddings": 36, "deepstack_visual_indexes": [0]}, **ids))
