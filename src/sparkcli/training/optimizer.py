"""AdamW, its learning-rate schedule, and its state as named tensors that safetensors can hold."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import Parameter

from sparkcli.config import TrainConfig
from sparkcli.errors import UsageError

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What torch's AdamW keeps per parameter; a key of the saved state is `PARAMETER.MOMENT`."""


def adamw(parameters: Mapping[str, Parameter], config: TrainConfig) -> torch.optim.AdamW:
    """Decoupled weight decay (arXiv 1711.05101), one fused kernel; the rate is set at each update."""
    return torch.optim.AdamW(parameters.values(), lr=config.lr, betas=(config.beta1, config.beta2),
                             weight_decay=config.weight_decay, fused=True)


def learning_rate(config: TrainConfig, update: int) -> float:
    """Rate of the update with this number, counted from 0 over all calls.

    Rises linearly to `lr` over `warmup_updates`, then stays, or falls linearly or as a half cosine; it would be 0 at
    `total_updates`, and stays 0 after it.

    Raises:
        UsageError: a decaying schedule without `total_updates`.
    """
    if update < config.warmup_updates:
        return config.lr * (update + 1) / config.warmup_updates
    if config.schedule == "constant":
        return config.lr
    if config.total_updates is None:
        raise UsageError(f"train: schedule {config.schedule!r} needs total_updates, the length of the whole run")
    length = max(1, config.total_updates - config.warmup_updates)
    done = min(1.0, (update - config.warmup_updates) / length)
    return config.lr * (1 - done if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done)))


def optimizer_tensors(optimizer: torch.optim.AdamW, parameters: Mapping[str, Parameter]) -> dict[str, Tensor]:
    """AdamW's state; a parameter that never had a gradient has none."""
    return {f"{name}.{moment}": optimizer.state[parameter][moment].detach()
            for name, parameter in parameters.items() if parameter in optimizer.state for moment in MOMENTS}


def restore_optimizer(optimizer: torch.optim.AdamW, parameters: Mapping[str, Parameter],
                      tensors: Mapping[str, Tensor], place: str) -> None:
    """Puts saved state back, exactly.

    Raises:
        UsageError: `tensors` (from `place`) are not the state of these parameters.
    """
    expected = {f"{name}.{moment}" for name in parameters for moment in MOMENTS}
    if unknown := sorted(set(tensors) - expected):
        raise UsageError(f"{place}: holds the state of {unknown[0]!r}, which is not trained here; "
                         "train with the method that made this policy")
    for name, parameter in parameters.items():
        state = {moment: tensors[f"{name}.{moment}"] for moment in MOMENTS if f"{name}.{moment}" in tensors}
        if state and (len(state) < len(MOMENTS) or state["exp_avg"].shape != parameter.shape):
            raise UsageError(f"{place}: the state of {name!r} does not fit the weights; is it another policy's file?")
        if state:
            optimizer.state[parameter] = {moment: tensor.to(parameter.device, copy=True)
                                          for moment, tensor in state.items()}
