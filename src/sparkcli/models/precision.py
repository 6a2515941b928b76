"""In which precision weights are loaded where nobody says so.

On an accelerator in the checkpoint's own. On a CPU in float32, since log-probs of 16 bits are not exact enough to train
on: of SmolLM2-135M's own rollouts in bfloat16 the importance ratio goes from 0.77 to 1.48, 0.6 % of the tokens are
outside the clip, and the KL is 5e-4; a float32 trainer sees 0.86 to 1.26 and 3e-4. Where neither tokens nor log-probs
are kept it may be bfloat16, which processors with units for it multiply two to three times as fast.
"""

from dataclasses import replace
from pathlib import Path

import torch
from transformers import PreTrainedConfig

from sparkcli.config import ModelConfig
from sparkcli.models.fingerprint import is_adapter, weight_files
from sparkcli.models.locate import model_folder
from sparkcli.models.network import find_device, load_architecture

UNITS = ("amx_bf16", "avx512_bf16")
"""Capabilities of CPUs that multiply matrices of bfloat16; the first is measured."""

LEAST_BYTES = 1 << 26
"""Of the weights' files. In smaller models the products are not what takes the time."""


def for_text(model: ModelConfig) -> ModelConfig:
    """The settings to load a model with of which nothing but text is kept: bfloat16 where the precision is left open,
    the CPU has units for it, and no weight is rounded, since the files hold bfloat16. A policy of full weights stays as
    it was trained.

    Raises:
        UsageError: unknown model or device, or a broken file.
    """
    if model.dtype != "auto" or model.load_in_4bit or find_device(model.device).type != "cpu" or not has_units():
        return model
    if model.policy and not is_adapter(Path(model.policy)):
        return model
    folder = model_folder(model.name)
    size = sum(path.stat().st_size for path in weight_files(folder))
    holds_bfloat16 = stored_dtype(load_architecture(folder, model)) == torch.bfloat16
    return replace(model, dtype="bfloat16") if holds_bfloat16 and size >= LEAST_BYTES else model


def stored_dtype(architecture: PreTrainedConfig) -> object:
    """Of a checkpoint's weights, as its configuration has it."""
    return architecture.dtype or architecture.get_text_config().dtype


def has_units() -> bool:
    """Whether this CPU multiplies matrices of bfloat16 faster than of float32."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in UNITS)
