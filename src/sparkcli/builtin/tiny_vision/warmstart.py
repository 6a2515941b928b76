"""The warm start: a Qwen2.5-VL-shaped net of a million parameters learns to imitate demonstrations, from scratch.

The loop is that of builtin:tiny-math. Every prompt begins with its picture, so all rows of a batch have the same
positions, and the vision tower takes the pictures in one go.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from sparkcli.builtin.tiny_vision import vocabulary
from sparkcli.builtin.tiny_vision.demonstrations import Demonstration, Mixture, demonstrate
from sparkcli.builtin.tiny_vision.pictures import ACROSS, CELL, picture
from sparkcli.builtin.tiny_vision.task import Problem

BATCH = 64
BUCKETS = 8
IGNORED = -100
PATCHES = (ACROSS * vocabulary.MERGE) ** 2
MEAN, DEVIATION = 0.92, 0.3


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen2_5_VLForConditionalGeneration:
    """An untrained net for this tokenizer, float32."""
    torch.manual_seed(seed)
    token = tokenizer.convert_tokens_to_ids
    ends = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    text = dict(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0, "mrope_section": [4, 6, 6]},
        tie_word_embeddings=True,
        **ends,
    )
    vision = {
        "depth": 2,
        "hidden_size": 64,
        "num_heads": 2,
        "intermediate_size": 128,
        "patch_size": vocabulary.PATCH,
        "spatial_merge_size": vocabulary.MERGE,
        "temporal_patch_size": 2,
        "window_size": ACROSS * CELL,
        "fullatt_block_indexes": [0, 1],
        "out_hidden_size": 128,
    }
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=token(vocabulary.IMAGE),
        video_token_id=token(vocabulary.VIDEO),
        vision_start_token_id=token(vocabulary.VISION_START),
        vision_end_token_id=token(vocabulary.VISION_END),
        tie_word_embeddings=True,
        **ends,
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.update(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    return model


@dataclass(frozen=True, slots=True)
class Batch:
    """Pixels of each prompt's picture, [BATCH * PATCHES, D]; ids and labels, [BATCH, T] each, labels IGNORED outside
    the replies."""

    pixels_PD: Tensor
    ids_BT: Tensor
    labels_BT: Tensor


def batches(tokenizer: PreTrainedTokenizerFast, mixture: Mixture, rng: random.Random) -> Iterator[Batch]:
    """Sequences of similar length share a batch."""
    while True:
        examples = [demonstrate(mixture, rng) for _ in range(BATCH * BUCKETS)]
        encoded = zip(examples, encode(tokenizer, examples), strict=True)
        rows = sorted(encoded, key=lambda row: len(row[1][0]) + len(row[1][1]))
        buckets = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
        rng.shuffle(buckets)
        yield from (_padded(bucket, tokenizer.pad_token_id) for bucket in buckets)


def encode(
    tokenizer: PreTrainedTokenizerFast, examples: list[Demonstration]
) -> list[tuple[list[int], list[int]]]:
    """Token ids of prompt and reply."""
    prompts = [chat(tokenizer, example.prompt) for example in examples]
    replies = [example.reply + tokenizer.eos_token for example in examples]
    encode = tokenizer.backend_tokenizer.encode_batch
    return [(prompt.ids, reply.ids) for prompt, reply in zip(encode(prompts), encode(replies), strict=True)]


def chat(tokenizer: PreTrainedTokenizerFast, content: str) -> str:
    """The text that the model reads for one picture and the user's text, a token for each of the picture's cells."""
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": content}]}]
    text = str(tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
    return text.replace(vocabulary.IMAGE, vocabulary.IMAGE * ACROSS**2)


def pixels(problems: list[Problem]) -> Tensor:
    """What the image processor makes of the problems' pictures, [len(problems) * PATCHES, channels * 2 * 8 * 8]."""
    raw = torch.from_numpy(np.stack([np.asarray(picture(problem)) for problem in problems]))
    raw = (raw.float() / 255 - MEAN) / DEVIATION
    merge, patch = vocabulary.MERGE, vocabulary.PATCH
    cells = raw.view(len(problems), ACROSS, merge, patch, ACROSS, merge, patch, 3).permute(0, 1, 4, 2, 5, 7, 3, 6)
    frames = cells.unsqueeze(6).expand(*cells.shape[:6], 2, patch, patch)
    return frames.reshape(len(problems) * PATCHES, -1)


def _padded(rows: list[tuple[Demonstration, tuple[list[int], list[int]]]], pad: int) -> Batch:
    length = max(len(prompt) + len(reply) for _, (prompt, reply) in rows)
    ids_BT = torch.full((len(rows), length), pad)
    labels_BT = torch.full((len(rows), length), IGNORED)
    for row, (_, (prompt, reply)) in enumerate(rows):
        end = len(prompt) + len(reply)
        ids_BT[row, :end] = torch.tensor(prompt + reply)
        labels_BT[row, len(prompt) : end] = torch.tensor(reply)
    return Batch(pixels([example.problem for example, _ in rows]), ids_BT, labels_BT)


def loss(model: Qwen2_5_VLForConditionalGeneration, batch: Batch) -> Tensor:
    """Mean cross-entropy of the reply tokens."""
    inner, ids_BT = model.model, batch.ids_BT[:, :-1]
    shown_BT = ids_BT == model.config.image_token_id
    embedded_BTD = inner.get_input_embeddings()(ids_BT).masked_scatter(shown_BT[..., None], see(model, batch.pixels_PD))
    hidden_BTD = inner.language_model(
        inputs_embeds=embedded_BTD, position_ids=positions(shown_BT), use_cache=False
    ).last_hidden_state
    chosen = batch.labels_BT[:, 1:] != IGNORED
    return torch.nn.functional.cross_entropy(model.lm_head(hidden_BTD[chosen]), batch.labels_BT[:, 1:][chosen])


def see(model: Qwen2_5_VLForConditionalGeneration, pixels_PD: Tensor) -> Tensor:
    """Embeddings of all pictures' cells, [pictures * cells, hidden]."""
    side = ACROSS * vocabulary.MERGE
    grids = torch.tensor([[1, side, side]]).expand(len(pixels_PD) // PATCHES, 3)
    return model.model.visual(pixels_PD, grid_thw=grids).pooler_output


def positions(shown_BT: Tensor) -> Tensor:
    """Multimodal positions (time, row, column) of prompts that begin with one picture, [3, B, T]."""
    first = int(shown_BT[0].int().argmax())
    cell = torch.arange(ACROSS**2)
    before = torch.arange(first).expand(3, -1)
    image = first + torch.stack([torch.zeros_like(cell), cell // ACROSS, cell % ACROSS])
    after = torch.arange(shown_BT.shape[1] - first - ACROSS**2).expand(3, -1) + first + ACROSS
    return torch.cat([before, image, after], dim=1)[:, None].expand(3, *shown_BT.shape)
