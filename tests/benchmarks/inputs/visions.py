"""Made-up rollouts of a made-up vision-language model: a Qwen2.5-VL with random weights, and questions about pictures.

Each group has a picture of its own, of a few hundred image tokens, and a question of random words; completions, rewards
and log-probabilities are drawn as those of `inputs.rollouts`.
"""

import random
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson
from inputs.rollouts import SEED, Group, Lengths, Shape, draw

PATCH, MERGE = 14, 2
"""Pixels of a patch's side; patches of an image token's."""
HEIGHTS, WIDTHS = (392, 448, 504), (420, 504)
"""Of the pictures, in pixels: 210 to 324 image tokens."""
LENGTHS = Lengths(prompt=40, shortest=40, longest=90)
"""Of the question in words, and of completions."""
MARKERS = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
TEMPLATE = ("{% for m in messages %}<|im_start|> {% if m['content'] is string %}{{ m['content'] }}{% else %}"
            "{% for part in m['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
            "{% else %}<|vision_start|><|image_pad|><|vision_end|>{% endif %}{% endfor %}{% endif %} <|im_end|> "
            "{% endfor %}{% if add_generation_prompt %}<|im_start|>{% endif %}")


@dataclass(frozen=True)
class VisionShape(Shape):
    """A Qwen2.5-VL's sizes."""

    depth: int
    vision_width: int
    vision_inner: int

    @property
    def vision(self) -> int:
        """Weights that every patch is multiplied with: embedding, blocks, its share of the merger."""
        width = self.vision_width
        block = 4 * width * width + 3 * width * self.vision_inner
        return 6 * PATCH * PATCH * width + self.depth * block + MERGE * MERGE * width * width + width * self.width


SHAPE = VisionShape(layers=6, width=384, inner=1024, heads=6, kv_heads=2, vocabulary=16_384, depth=8, vision_width=256,
                    vision_inner=768)


def draw_pictures(folder: Path, groups: int) -> list[Group]:
    """Groups with a question and a picture as a PNG file, without token ids of the prompt and log-probabilities."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    chance, drawn = random.Random(SEED), []
    for number, group in enumerate(draw(LENGTHS, groups, SHAPE.vocabulary - len(MARKERS))):
        path = folder / f"{number}.png"
        coarse = np.random.default_rng(number).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((chance.choice(WIDTHS), chance.choice(HEIGHTS)), 0).save(path)
        drawn.append(replace(group, prompt=[], text=" ".join(f"w{i}" for i in group.prompt), image=str(path)))
    return drawn


def write_model(folder: Path, dtype: str) -> None:
    """A Qwen2.5-VL with random weights and tied embeddings, and a processor whose words are `w0`, `w1`, …"""
    import torch
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(SEED)
    words = SHAPE.vocabulary - len(MARKERS)
    core = Tokenizer(models.WordLevel({f"w{i}": i for i in range(words)}, unk_token="w0"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.add_special_tokens([AddedToken(marker, special=True) for marker in MARKERS])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="w0", eos_token="w1")
    tokenizer.chat_template = TEMPLATE
    ids = dict(zip(("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id"),
                   range(words + 2, SHAPE.vocabulary), strict=True))
    text = {"vocab_size": SHAPE.vocabulary, "hidden_size": SHAPE.width, "intermediate_size": SHAPE.inner,
            "num_hidden_layers": SHAPE.layers, "num_attention_heads": SHAPE.heads, "bos_token_id": None,
            "num_key_value_heads": SHAPE.kv_heads, "eos_token_id": 1, "pad_token_id": 0,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]}}
    vision = {"depth": SHAPE.depth, "hidden_size": SHAPE.vision_width, "intermediate_size": SHAPE.vision_inner,
              "num_heads": 4, "patch_size": PATCH, "spatial_merge_size": MERGE, "out_hidden_size": SHAPE.width,
              "window_size": 8 * PATCH, "fullatt_block_indexes": [SHAPE.depth // 2 - 1, SHAPE.depth - 1]}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids)
    Qwen2_5_VLForConditionalGeneration(config).to(getattr(torch, dtype)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_bytes(orjson.dumps(
        {"processor_class": "Qwen2_5_VLProcessor", "image_processor_type": "Qwen2VLImageProcessor",
         "patch_size": PATCH, "merge_size": MERGE, "temporal_patch_size": 2,
         "size": {"shortest_edge": 56 * 56, "longest_edge": 1280 * 28 * 28}}))


def write_rollouts(path: Path, model_folder: Path, groups: list[Group], dtype: str, device: str) -> None:
    """The groups with prompts as the model reads them and its log-probabilities, as JSON."""
    import torch
    from transformers import AutoModelForImageTextToText
    from transformers.utils import logging

    from sparkcli.config import ModelConfig
    from sparkcli.models.prompts import encode
    from sparkcli.models.reader import load_reader

    logging.disable_progress_bar()
    model: Any = AutoModelForImageTextToText.from_pretrained(model_folder, dtype=dtype).to(device).eval()
    reader = load_reader(model_folder, ModelConfig(name=str(model_folder)))

    def score(encoded: Any, completion: list[int]) -> list[float]:
        ids_1S = torch.tensor([encoded.token_ids + completion])
        kinds_1S = torch.cat([encoded.kinds_1T, torch.zeros(1, len(completion), dtype=torch.long)], 1)
        given = {"input_ids": ids_1S, "mm_token_type_ids": kinds_1S, **encoded.pixels}
        logits_TV = model(**{name: tensor.to(device) for name, tensor in given.items()}).logits
        logprobs_TV = logits_TV[0, len(encoded.token_ids) - 1:-1].float().log_softmax(-1).cpu()
        logprobs_T: list[float] = logprobs_TV.gather(1, torch.tensor(completion)[:, None])[:, 0].tolist()
        return logprobs_T

    scored = []
    for number, group in enumerate(groups):
        encoded = encode(group.record(str(number)), reader)
        with torch.no_grad():
            logprobs = [score(encoded, completion) for completion in group.completions]
        patches = len(encoded.pixels["pixel_values"])
        scored.append(replace(group, prompt=encoded.token_ids, logprobs=logprobs, patches=patches))
    path.write_bytes(orjson.dumps([asdict(group) for group in scored]))
