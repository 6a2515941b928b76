"""The net of builtin:tiny-vision: Qwen2.5-VL-shaped, a million parameters, and how it reads a batch.

Every prompt begins with its picture, so all rows of a batch have the same positions, and the vision tower takes the
pictures in one go.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from sparkcli.builtin.demonstrations import Demonstration
from sparkcli.builtin.making import Net
from sparkcli.builtin.tiny_vision import vocabulary
from sparkcli.builtin.tiny_vision.pictures import ACROSS, CELL, picture
from sparkcli.builtin.tiny_vision.problem import Problem
from sparkcli.builtin.tiny_vision.vocabulary import FRAMES, MERGE, PATCH
from sparkcli.builtin.warmstart import Ids, imitation_loss, padded

CELLS = ACROSS**2
"""Image tokens of a picture."""
GRID = (1, ACROSS * MERGE, ACROSS * MERGE)
"""Patches of a picture: frames, rows, columns."""
HIDDEN = 128


@dataclass(frozen=True, slots=True)
class Batch:
    """Pixels of each prompt's picture, [N * patches, D]; token ids and labels, [N, T] each."""

    pixels_PD: Tensor
    ids_BT: Tensor
    labels_BT: Tensor


class TinyVision(Net[Problem, Batch]):
    """Reads one picture and text."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
        torch.manual_seed(seed)
        super().__init__(Qwen2_5_VLForConditionalGeneration(_config(tokenizer)), tokenizer)

    def content(self, example: Demonstration[Problem]) -> list[dict[str, str]]:
        """The picture, then the text."""
        return [{"type": "image"}, {"type": "text", "text": example.prompt}]

    def chat(self, example: Demonstration[Problem]) -> str:
        """The text that the model reads, with a token for each cell of the picture."""
        return super().chat(example).replace(vocabulary.IMAGE, vocabulary.IMAGE * CELLS)

    def batch(self, rows: list[tuple[Demonstration[Problem], Ids]]) -> Batch:
        """Pixels, token ids and labels."""
        return Batch(pixels([example.problem for example, _ in rows]), *padded([ids for _, ids in rows], self.pad))

    def loss(self, batch: Batch) -> Tensor:
        """Mean cross-entropy of the reply tokens."""
        inner, ids_BT = self.model.model, batch.ids_BT[:, :-1]
        shown_BT = ids_BT == self.model.config.image_token_id
        seen_ND = inner.visual(batch.pixels_PD, grid_thw=grids(len(ids_BT))).pooler_output
        embedded_BTD = inner.get_input_embeddings()(ids_BT).masked_scatter(shown_BT[..., None], seen_ND)
        hidden_BTD = inner.language_model(
            inputs_embeds=embedded_BTD, position_ids=positions(shown_BT), use_cache=False
        ).last_hidden_state
        return imitation_loss(self.model, hidden_BTD, batch.labels_BT)

    def inputs(self, examples: list[Demonstration[Problem]]) -> dict[str, Tensor]:
        """What `generate` reads."""
        read = self.tokenized(examples)
        shown_BT = (read["input_ids"] == self.model.config.image_token_id).int()
        pictures = {"pixel_values": pixels([e.problem for e in examples]), "image_grid_thw": grids(len(examples))}
        return {**read, **pictures, "mm_token_type_ids": shown_BT}

    def save(self, out: Path) -> None:
        """Writes the folder, with the image processor."""
        super().save(out)
        vocabulary.image_processor().save_pretrained(out)


def _config(tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLConfig:
    token: Any = tokenizer.convert_tokens_to_ids
    ends = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": HIDDEN,
        "intermediate_size": 352,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "rms_norm_eps": 1e-6,
        # at 16 frequencies Qwen's theta of a million would leave the columns' share of them almost flat
        "rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "mrope_section": [4, 6, 6]},
        "tie_word_embeddings": True,
        **ends,
    }
    vision = {
        "depth": 2,
        "hidden_size": 64,
        "num_heads": 2,
        "intermediate_size": 128,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": FRAMES,
        "window_size": ACROSS * CELL,
        "fullatt_block_indexes": [0, 1],
        "out_hidden_size": HIDDEN,
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=token(vocabulary.IMAGE),
        video_token_id=token(vocabulary.VIDEO),
        vision_start_token_id=token(vocabulary.VISION_START),
        vision_end_token_id=token(vocabulary.VISION_END),
        tie_word_embeddings=True,
        **ends,
    )


def grids(count: int) -> Tensor:
    """The patches of so many pictures, [count, 3]."""
    return torch.tensor([GRID]).expand(count, 3)


def pixels(problems: list[Problem]) -> Tensor:
    """What the image processor makes of the problems' pictures, [len(problems) * patches, D]."""
    raw = torch.from_numpy(np.stack([np.asarray(picture(problem)) for problem in problems]))
    raw = (raw.float() / 255 - vocabulary.MEAN) / vocabulary.DEVIATION
    patches = raw.view(len(problems), ACROSS, MERGE, PATCH, ACROSS, MERGE, PATCH, 3).permute(0, 1, 4, 2, 5, 7, 3, 6)
    frames = patches.unsqueeze(6).expand(*patches.shape[:6], FRAMES, PATCH, PATCH)
    return frames.reshape(len(problems) * GRID[1] * GRID[2], -1)


def positions(shown_BT: Tensor) -> Tensor:
    """Multimodal positions (time, row, column) of prompts that begin with one picture, [3, B, T]."""
    first = int(shown_BT[0].int().argmax())
    cell = torch.arange(CELLS)
    before = torch.arange(first).expand(3, -1)
    image = first + torch.stack([torch.zeros_like(cell), cell // ACROSS, cell % ACROSS])
    after = torch.arange(shown_BT.shape[1] - first - CELLS).expand(3, -1) + first + ACROSS
    return torch.cat([before, image, after], dim=1)[:, None].expand(3, *shown_BT.shape)
