"""TRL's trainers as oracles of the loss: built on the CPU, never asked to generate or to step."""

from pathlib import Path
from typing import Any

import pytest

from sparkcli.method.objectives import Objective

LIMIT = 12
"""Tokens of a completion at most."""
AS_TRL = {"spark": "bnpo", "grpo": "grpo", "dr-grpo": "dr_grpo", "reinforce++": "bnpo", "dapo": "dapo", "bnpo": "bnpo",
          "gspo": "grpo", "cispo": "cispo"}
"""What TRL's GRPOTrainer calls the way to take the mean. Its `bnpo` is over the batch that it is given."""
WIDE: dict[str, dict[str, float]] = {"gspo": {"clip": 0.05, "clip_high": 0.1}, "cispo": {"clip": 1.0, "clip_high": 0.2},
                                     "rloo": {"clip": 0.5, "clip_high": 0.9}}
"""Bounds that some ratios are within and some beyond, where the preset's are not."""


def build(kind: str, model_folder: Path, output: Path, temperature: float = 1.0, processor: Any = None) -> Any:
    """TRL's `GRPOTrainer` or `RLOOTrainer`. `processor`: in place of what TRL would load."""
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl")
    arguments = getattr(trl, f"{kind}Config")(
        output_dir=str(output), use_cpu=True, bf16=False, gradient_checkpointing=False, report_to="none",
        num_generations=2, per_device_train_batch_size=2, max_completion_length=LIMIT, temperature=temperature)
    trainer = getattr(trl, f"{kind}Trainer")(
        model=str(model_folder), reward_funcs=lambda completions, **_: [0.0] * len(completions), args=arguments,
        train_dataset=datasets.Dataset.from_dict({"prompt": ["w3", "w4"]}), processing_class=processor)
    trainer.args.use_bias_correction_kl = False
    trainer.vllm_importance_sampling_correction = True
    trainer.model.eval()  # in training a batch is a share of an accumulated one
    return trainer


def settle(trainer: Any, name: str, chosen: Objective, kl: float, bonus: float) -> None:
    """Gives TRL's trainer the settings of one of our objectives."""
    trainer.loss_type = AS_TRL.get(name)
    trainer.importance_sampling_level = "sequence" if chosen.surrogate == "clip-sequence" else "token"
    trainer.epsilon_low = chosen.clip
    trainer.epsilon_high = 1 + chosen.clip_high if chosen.surrogate == "cispo" else chosen.clip_high
    trainer.beta, trainer.entropy_coef, trainer._entropy_bonus_enabled = kl, bonus, bonus > 0
