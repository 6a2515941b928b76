"""The schedule, clipping, and AdamW's state as tensors."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import Parameter

from sparkcli.config import TrainConfig
from sparkcli.errors import UsageError
from sparkcli.models.policy import Policy
from sparkcli.records import Scored
from sparkcli.training.optimizer import Optimizer, learning_rate
from sparkcli.training.step import Trainer


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


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_one_call_of_eight_updates_has_the_rates_of_four_calls_of_two(
    fresh: Callable[..., Policy], phase: Callable[..., list[Scored]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    schedule: str
) -> None:
    """Separate processes, as far as the schedule can tell: each call loads the policy that the last one saved."""
    config = TrainConfig(lr=1e-3, schedule=schedule, warmup_updates=3, total_updates=9)  # type: ignore[arg-type]
    rates: list[float] = []
    step = Optimizer.step
    monkeypatch.setattr(Optimizer, "step", lambda self, rate: (rates.append(rate), step(self, rate))[1])
    Trainer(fresh(), dataclasses.replace(config, updates=8)).step(phase(groups=8))
    at_once = rates.copy()
    rates.clear()
    for call in range(4):
        trainer = Trainer(fresh(tmp_path / str(call - 1) if call else None), dataclasses.replace(config, updates=2))
        trainer.step([dataclasses.replace(s, policy=trainer.policy.fingerprint) for s in phase(seed=call)])
        trainer.save(tmp_path / str(call))
    assert rates == at_once
    assert rates == [learning_rate(config, update) for update in range(8)]


@pytest.mark.parametrize("limit", [0.0, 0.5, 100.0])
def test_an_update_is_torchs_own(limit: float) -> None:
    """Bit for bit AdamW's after `clip_grad_norm_`; the norm is that before clipping. 0 does not clip."""
    ours, theirs = (Parameter(torch.linspace(-1, 1, 37)) for _ in range(2))
    config = TrainConfig(max_grad_norm=limit, weight_decay=0.01)
    optimizer = Optimizer({"w": ours}, config)
    torchs = torch.optim.AdamW([theirs], lr=0.1, betas=(config.beta1, config.beta2), weight_decay=0.01, fused=True)
    for update in range(4):
        optimizer.scale((ours * torch.sin(ours + update)).sum()).backward()
        (theirs * torch.sin(theirs + update)).sum().backward()
        norm = torch.nn.utils.clip_grad_norm_([theirs], limit or torch.inf)
        torchs.step()
        torchs.zero_grad()
        assert optimizer.step(0.1).norm == float(norm)
        assert torch.equal(ours, theirs)
        assert ours.grad is None


def test_settings_may_change_between_updates() -> None:
    weight = Parameter(torch.ones(3))
    optimizer = Optimizer({"w": weight}, TrainConfig(weight_decay=0.0))
    optimizer.config = TrainConfig(weight_decay=0.5, max_grad_norm=1.0)
    weight.grad = torch.zeros(3)
    optimizer.step(0.1)
    assert weight.tolist() == pytest.approx([0.95] * 3)


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_a_gradient_that_is_not_finite_updates_nothing(value: float) -> None:
    weight = Parameter(torch.ones(3))
    optimizer = Optimizer({"w": weight}, TrainConfig())
    weight.grad = torch.tensor([1.0, value, 0.0])
    found = optimizer.step(0.1)
    assert found.norm != found.norm or found.norm == torch.inf
    assert not found.skipped and weight.tolist() == [1, 1, 1] and weight.grad is None and not optimizer.tensors()


def test_without_any_gradient_nothing_happens() -> None:
    optimizer = Optimizer({"w": Parameter(torch.ones(3))}, TrainConfig())
    assert optimizer.step(0.1).norm == 0
    assert optimizer.tensors() == {}


def trained(updates: int, dtype: torch.dtype, resume_at: int | None = None) -> dict[str, torch.Tensor]:
    """A vector and its state after some updates, with weight and optimiser rebuilt from tensors on the way."""
    config = TrainConfig(weight_decay=0.01)
    weight, unused = Parameter(torch.linspace(-1, 1, 37).to(dtype)), Parameter(torch.zeros(2, dtype=dtype))
    optimizer = Optimizer({"w": weight, "unused": unused}, config)
    for update in range(updates):
        if update == resume_at:
            tensors = {name: tensor.clone() for name, tensor in optimizer.tensors().items()}
            weight = Parameter(weight.detach().clone())
            optimizer = Optimizer({"w": weight, "unused": unused}, config)
            optimizer.restore(tensors, "optimizer.safetensors")
        optimizer.scale((weight * torch.sin(weight.detach() + update)).sum()).backward()
        optimizer.step(1e-3)
    return {"w": weight.detach(), **optimizer.tensors()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_restored_state_continues_bit_for_bit(dtype: torch.dtype) -> None:
    at_once, resumed = trained(6, dtype), trained(6, dtype, resume_at=3)
    assert at_once.keys() == resumed.keys()
    assert all(torch.equal(at_once[name], resumed[name]) for name in at_once)


@pytest.mark.parametrize(("dtype", "expected"), [
    (torch.float32, set()),
    (torch.bfloat16, {"w.master", "unused.master"}),
    (torch.float16, {"w.master", "unused.master", "loss_scale", "loss_scale_age"}),
])
def test_what_is_saved(dtype: torch.dtype, expected: set[str]) -> None:
    found = trained(2, dtype)
    assert found.keys() == {"w", "w.step", "w.exp_avg", "w.exp_avg_sq"} | expected
    assert {found[key].dtype for key in found if key not in ("w", "loss_scale_age")} == {torch.float32}


@pytest.mark.parametrize(("tensors", "message"), [
    ({"other.exp_avg": torch.zeros(2)}, "holds the state of 'other.exp_avg'"),
    ({"w.exp_avg": torch.zeros(2)}, "the state of 'w' does not fit"),
    ({f"w.{moment}": torch.zeros(3) for moment in ("step", "exp_avg", "exp_avg_sq")}, "the state of 'w' does not fit"),
    ({"w.master": torch.ones(2)}, "the float32 copy of 'w' is not of these weights"),
    ({"w.master": torch.zeros(3)}, "the float32 copy of 'w' is not of these weights"),
])
def test_state_of_other_weights_is_refused(tensors: dict[str, torch.Tensor], message: str) -> None:
    optimizer = Optimizer({"w": Parameter(torch.zeros(2, dtype=torch.bfloat16))}, TrainConfig())
    with pytest.raises(UsageError, match=r"^old/optimizer\.safetensors: " + message):
        optimizer.restore(tensors, "old/optimizer.safetensors")


def test_copies_of_weights_that_are_float32_now_are_left_out_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    saved = trained(3, torch.bfloat16)
    weight = Parameter(saved.pop("w").float())
    before = weight.detach().clone()
    Optimizer({"w": weight, "unused": Parameter(torch.zeros(2))}, TrainConfig()).restore(saved, "old")
    assert torch.equal(weight, before)
    assert "old: its float32 copies of weights of 16 bits are left out" in caplog.text
