"""The schedule, and AdamW's state as tensors."""

import pytest
import torch

from sparkcli.config import TrainConfig
from sparkcli.errors import UsageError
from sparkcli.training.optimizer import adamw, learning_rate, optimizer_tensors, restore_optimizer


@pytest.mark.parametrize(("schedule", "expected"), [
    ("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
    ("linear", [0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]),
    ("cosine", [0.5, 1.0, 1.0, 0.853553, 0.5, 0.146447, 0.0]),
])
def test_rate_rises_then_follows_the_schedule(schedule: str, expected: list[float]) -> None:
    config = TrainConfig(lr=1.0, schedule=schedule, warmup_updates=2, total_updates=6)  # type: ignore[arg-type]
    assert [learning_rate(config, update) for update in range(7)] == pytest.approx(expected, abs=1e-6)
    assert learning_rate(config, 99) == expected[-1]


def test_a_decay_needs_the_length_of_the_run() -> None:
    with pytest.raises(UsageError, match="needs total_updates"):
        learning_rate(TrainConfig(schedule="cosine"), 0)


def trained(updates: int, resume_at: int | None = None) -> torch.nn.Parameter:
    """A vector after some updates of AdamW, with the optimiser rebuilt from its tensors on the way."""
    parameters = {"w": torch.nn.Parameter(torch.linspace(-1, 1, 37)), "unused": torch.nn.Parameter(torch.zeros(2))}
    optimizer = adamw(parameters, TrainConfig(lr=0.1, weight_decay=0.01))
    for update in range(updates):
        if update == resume_at:
            tensors = optimizer_tensors(optimizer, parameters)
            optimizer = adamw(parameters, TrainConfig(lr=0.1, weight_decay=0.01))
            restore_optimizer(optimizer, parameters, tensors, "optimizer.safetensors")
        parameters["w"].grad = torch.sin(parameters["w"].detach() + update)
        optimizer.step()
    return parameters["w"]


def test_restored_state_continues_bit_for_bit() -> None:
    assert torch.equal(trained(6), trained(6, resume_at=3))


@pytest.mark.parametrize(("tensors", "message"), [
    ({"other.exp_avg": torch.zeros(2)}, "holds the state of 'other.exp_avg'"),
    ({"w.exp_avg": torch.zeros(2)}, "the state of 'w' does not fit"),
    ({f"w.{moment}": torch.zeros(3) for moment in ("step", "exp_avg", "exp_avg_sq")}, "the state of 'w' does not fit"),
])
def test_state_of_other_weights_is_refused(tensors: dict[str, torch.Tensor], message: str) -> None:
    parameters = {"w": torch.nn.Parameter(torch.zeros(2))}
    with pytest.raises(UsageError, match=r"^old/optimizer\.safetensors: " + message):
        restore_optimizer(adamw(parameters, TrainConfig()), parameters, tensors, "old/optimizer.safetensors")
