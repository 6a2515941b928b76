"""Prompts where they stand: the position of each token, and the pixels of the images among them.

A vision model may count positions along several axes (Qwen2.5-VL and Qwen3-VL: time, height and width), so that an
image of n tokens takes less than n positions of what follows. Where a prompt stands depends on itself alone; it is
worked out once, and packed rows, padded rectangles and single steps all take it from here.

Axes: P prompts, A axes of positions, T tokens.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from sparkcli.errors import UsageError
from sparkcli.models.network import body_of
from sparkcli.models.prompts import Encoded

PATCH = 14
"""Pixels along a side of a patch, where a network does not say."""


@dataclass(frozen=True)
class Placed:
    """A prompt as a network runs it."""

    token_ids: Sequence[int]
    end: int
    """Position of the first token after it, on all axes."""
    positions_AT: Tensor | None = None
    """On the CPU; None: 0, 1, 2, … on every axis."""
    pixels: Mapping[str, Tensor] = field(default_factory=dict)
    """See `Encoded.pixels`; empty without images."""
    kinds_1T: Tensor | None = None
    """See `Encoded.kinds_1T`."""


def text(token_ids: Sequence[int]) -> Placed:
    """A prompt without images."""
    return Placed(token_ids, len(token_ids))


def place(network: PreTrainedModel, prompt: Encoded) -> Placed:
    """Where a prompt stands in `network`, which is asked for it where it counts on several axes.

    Raises:
        UsageError: the network takes the kinds of tokens for something else: its image tokens attend both ways.
    """
    if not prompt.pixels:
        return text(prompt.token_ids)
    ask = getattr(body_of(network), "get_rope_index", None)
    if ask is None:
        if prompt.kinds_1T is not None and "mm_token_type_ids" in inspect.signature(
                body_of(network).forward).parameters:
            raise UsageError(f"{network.config.model_type}: its image tokens attend to each other both ways, which is "
                             "not supported; take a model with causal attention, as Qwen2.5-VL or Qwen3-VL")
        return Placed(prompt.token_ids, len(prompt.token_ids), pixels=prompt.pixels, kinds_1T=prompt.kinds_1T)
    known: dict[str, Any] = {**prompt.pixels, "input_ids": torch.tensor([prompt.token_ids]),
                             "mm_token_type_ids": prompt.kinds_1T}
    wanted = inspect.signature(ask).parameters
    positions_A1T, _ = ask(**{name: value for name, value in known.items() if name in wanted})
    positions_AT: Tensor = positions_A1T[:, 0]
    return Placed(prompt.token_ids, int(positions_AT.max()) + 1, positions_AT, prompt.pixels, prompt.kinds_1T)


def pixel_inputs(prompts_P: Sequence[Placed], device: torch.device) -> dict[str, Tensor]:
    """The images of all prompts, in order, as the network takes them; empty where there are none.

    Along the first axis they follow each other; where their other sizes differ, zeros fill up, as processors do it.
    """
    seen = [prompt.pixels for prompt in prompts_P if prompt.pixels]
    names = seen[0] if seen else ()
    return {name: _joined([pixels[name] for pixels in seen]).to(device, non_blocking=True) for name in names}


def patches(network: PreTrainedModel, pixels: Mapping[str, Tensor]) -> int:
    """Into how many patches the vision tower of `network` cuts these images: the tokens that it runs on."""
    values = pixels.get("pixel_values")
    if values is None:
        return 0
    if values.ndim == 2:  # Qwen's processors cut them already
        return len(values)
    size = getattr(getattr(network.config, "vision_config", None), "patch_size", PATCH)
    return values.numel() // (3 * (size if isinstance(size, int) else size[0])**2)


def axes(prompts_P: Sequence[Placed]) -> int | None:
    """How many axes of positions these prompts have together; None: a single plain one."""
    return next((len(prompt.positions_AT) for prompt in prompts_P if prompt.positions_AT is not None), None)


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    largest = [max(sizes) for sizes in zip(*(tensor.shape[1:] for tensor in tensors), strict=True)]
    return torch.cat([_filled_up(tensor, largest) for tensor in tensors])


def _filled_up(tensor: Tensor, sizes: Sequence[int]) -> Tensor:
    missing = [most - size for size, most in zip(tensor.shape[1:], sizes, strict=True)]
    return functional.pad(tensor, [n for more in reversed(missing) for n in (0, more)]) if any(missing) else tensor
