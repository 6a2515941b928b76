"""Twenty steps of a tiny model with several objectives: loss, KL and entropy as they were when last looked at.

`UPDATE_GOLDEN=1 pytest tests/training/test_curve.py` writes them anew; say what changed, and why, before keeping it.
The weights come from Python's own generator, so that between machines only the order of sums can differ.
"""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.training.references import constant, near

from sparkcli.config import ModelConfig, TrainConfig
from sparkcli.models.policy import load
from sparkcli.records import Scored
from sparkcli.training.step import Trainer

GOLDEN = Path(__file__).with_name("curve.json")
STEPS = 20
WATCHED = ("loss", "kl", "entropy")


@pytest.fixture(scope="module")
def settled(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model with weights that depend on their names alone."""
    folder = tmp_path_factory.mktemp("settled") / "model"
    shutil.copytree(model_folder, folder)
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        draw = random.Random(name)
        if tensor.dim() > 1:
            values = [draw.gauss(0.0, 0.2) for _ in range(tensor.numel())]
            tensors[name] = torch.tensor(values).view_as(tensor)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def curve(folder: Path, phase: Callable[..., list[Scored]], name: Any) -> dict[str, list[float]]:
    """What twenty steps of 2 updates report; each has other rollouts, of a policy near the current one."""
    config = TrainConfig(method="full", loss=name, updates=2, lr=1e-3, kl=0.1, entropy_bonus=0.01)
    trainer = Trainer(load(ModelConfig(name=str(folder), device="cpu")), config)
    found: dict[str, list[float]] = {key: [] for key in WATCHED}
    for step in range(STEPS):
        records = constant(phase(groups=3, seed=step), f"{step}/0")
        metrics = trainer.step(near(trainer.policy, records, 0.1))
        for key in WATCHED:
            found[key].append(metrics[key])
    return found


@pytest.mark.parametrize("name", ["spark", "grpo", "rloo", "gspo", "cispo"])
def test_the_curve_is_the_golden_one(settled: Path, phase: Callable[..., list[Scored]], name: str) -> None:
    found = curve(settled, phase, name)
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("UPDATE_GOLDEN"):
        golden[name] = {key: [float(f"{value:.7g}") for value in values] for key, values in found.items()}
        lines = [f'"{name}": {json.dumps(curves)}' for name, curves in sorted(golden.items())]
        GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    for key, values in golden[name].items():
        assert found[key] == pytest.approx(values, rel=1e-4, abs=2e-6), key
