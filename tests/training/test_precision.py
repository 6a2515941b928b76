"""Weights of 16 bits and of 4 train as float32 does: small updates count, gradients neither vanish nor overflow."""

import dataclasses
import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.models.vision import Kind, write_pictures, write_vision_model
from tests.training.conftest import VOCABULARY
from tests.training.visions import rollouts
from torch.nn import Parameter
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sparkcli.config import ModelConfig, TrainConfig
from sparkcli.models.policy import Policy, load, read_optimizer
from sparkcli.records import Scored
from sparkcli.training.optimizer import FIRST_SCALE, LOWEST_SCALE, SCALE_GROWS_AFTER, Optimizer
from sparkcli.training.step import Trainer

Phase = Callable[..., list[Scored]]

FULL = TrainConfig(method="full", lr=1e-3, updates=3)
LORA = TrainConfig(method="lora", lr=3e-3, lora_rank=4, updates=3)

needs_bitsandbytes = pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None,
                                        reason="bitsandbytes is not installed: pip install 'sparkcli[qlora]'")


def policy(folder: Path, directory: Path | None = None, **settings: object) -> Policy:
    return load(ModelConfig(name=str(folder), policy=str(directory) if directory else None, device="cpu",
                            **settings))  # type: ignore[arg-type]


def of(trainer: Trainer, records: list[Scored]) -> list[Scored]:
    """The records as if the trainer's policy had sampled them."""
    return [dataclasses.replace(record, policy=trainer.policy.fingerprint) for record in records]


def test_updates_smaller_than_bfloat16_can_hold_add_up() -> None:
    """Each moves a weight by a twentieth of its last bit; torch's AdamW on the weights themselves stands still."""
    start = torch.linspace(0.01, 0.015, 40).bfloat16()
    slope = torch.linspace(-1, 1, 40).bfloat16()
    ours, exact, naive = Parameter(start.clone()), Parameter(start.float()), Parameter(start.clone())
    optimizer = Optimizer({"w": ours}, TrainConfig())
    reference = Optimizer({"w": exact}, TrainConfig())
    stuck = torch.optim.AdamW([naive], lr=1e-6, weight_decay=0.0, fused=True)
    for _ in range(300):
        ours.grad, exact.grad, naive.grad = slope.clone(), slope.float(), slope.clone()
        assert optimizer.step(1e-6) == reference.step(1e-6)
        stuck.step()
    assert torch.equal(naive, start)
    assert torch.equal(optimizer.tensors()["w.master"], exact)
    assert torch.equal(ours, exact.bfloat16())
    assert not torch.equal(ours, start)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gradients_of_many_micro_batches_are_summed_in_float32(dtype: torch.dtype) -> None:
    """600 ones: bfloat16 alone would stop counting at 256."""
    weight = Parameter(torch.zeros(4, dtype=dtype))
    optimizer = Optimizer({"w": weight}, TrainConfig(max_grad_norm=0.0))
    for _ in range(600):
        (optimizer.scale(weight.float().sum() / 64)).backward()
    assert optimizer.step(0.1).norm == 600 / 64 * 2


def test_clipping_is_that_of_the_unscaled_float32_gradient() -> None:
    """The first moment after an update is (1 − β₁) times the clipped gradient."""
    slope = torch.tensor([3.0, 4.0])
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        weight = Parameter(torch.ones(2, dtype=dtype))
        optimizer = Optimizer({"w": weight}, TrainConfig(max_grad_norm=0.5))
        optimizer.scale((weight.float() * slope).sum() / 64).backward()
        assert optimizer.step(0.0).norm == 5 / 64
        torch.testing.assert_close(optimizer.tensors()["w.exp_avg"], 0.1 * slope / 64)
        optimizer.scale((weight.float() * slope).sum()).backward()
        while optimizer.step(0.0).skipped:
            optimizer.scale((weight.float() * slope).sum()).backward()
        torch.testing.assert_close(optimizer.tensors()["w.exp_avg"], 0.1 * (0.9 * slope / 64 + 0.1 * slope))


def test_float16_keeps_gradients_that_it_could_not_hold_itself() -> None:
    weight = Parameter(torch.ones(4, dtype=torch.float16))
    assert torch.tensor(1e-8).half() == 0
    optimizer = Optimizer({"w": weight}, TrainConfig())
    optimizer.scale(weight.float().sum() * 1e-8).backward()
    assert optimizer.step(0.1).norm == pytest.approx(2e-8, rel=1e-3)


def test_an_overflow_is_skipped_and_tried_again_at_half_the_scale() -> None:
    weight = Parameter(torch.ones(4, dtype=torch.float16))
    optimizer = Optimizer({"w": weight}, TrainConfig(max_grad_norm=0.0))
    skipped = 0
    while True:
        optimizer.scale((weight.float() * 100).sum()).backward()
        step = optimizer.step(0.1)
        if not step.skipped:
            break
        skipped += 1
        assert weight.tolist() == [1, 1, 1, 1] and weight.grad is None and "w.step" not in optimizer.tensors()
    assert optimizer.loss_scale == FIRST_SCALE / 2**skipped == 512  # 100 × 512 is the most that float16 holds
    assert step.norm == 200
    assert weight.tolist() == pytest.approx([0.9] * 4, abs=1e-3)


def test_at_the_lowest_scale_an_overflow_is_the_callers_to_explain() -> None:
    weight = Parameter(torch.ones(1, dtype=torch.float16))
    optimizer = Optimizer({"w": weight}, TrainConfig())

    def attempt() -> bool:
        weight.grad = torch.tensor([torch.inf], dtype=torch.float16)
        return optimizer.step(0.1).skipped

    assert [attempt() for _ in range(18)] == [True] * 16 + [False] * 2
    assert optimizer.loss_scale == LOWEST_SCALE


def test_the_scale_grows_after_a_long_time_without_overflow() -> None:
    weight = Parameter(torch.ones(1, dtype=torch.float16))
    optimizer = Optimizer({"w": weight}, TrainConfig())
    scales = set()
    for _ in range(SCALE_GROWS_AFTER):
        scales.add(optimizer.loss_scale)
        weight.grad = torch.ones(1, dtype=torch.float16)
        optimizer.step(0.0)
    assert scales == {FIRST_SCALE}
    assert optimizer.loss_scale == 2 * FIRST_SCALE


def test_a_float32_adapter_is_scaled_where_the_network_computes_in_float16() -> None:
    adapter = {"w": Parameter(torch.ones(1))}
    assert Optimizer(adapter, TrainConfig(), torch.float16).loss_scale == FIRST_SCALE
    assert Optimizer(adapter, TrainConfig(), torch.bfloat16).loss_scale is None
    assert Optimizer(adapter, TrainConfig()).loss_scale is None


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_full_fine_tuning_in_16_bits_goes_where_float32_goes(model_folder: Path, phase: Phase, dtype: str) -> None:
    config = dataclasses.replace(FULL, lr=1e-6, updates=6)
    moves = {}
    for name in ("float32", dtype):
        trainer = Trainer(policy(model_folder, dtype=name), config)
        before = weights(trainer)
        metrics = trainer.step(of(trainer, phase()))
        moves[name] = weights(trainer) - before
        assert metrics["total_updates"] == 6
        assert trainer.policy.network.dtype == getattr(torch, name)
    found, expected = moves[dtype], moves["float32"]
    assert torch.nn.functional.cosine_similarity(found, expected, dim=0) > 0.9
    assert float(found.norm()) == pytest.approx(float(expected.norm()), rel=0.05)


def weights(trainer: Trainer) -> torch.Tensor:
    """All weights in a row, as exact as the optimiser has them."""
    tensors = trainer.optimizer.tensors()
    return torch.cat([tensors.get(f"{name}.master", parameter).detach().float().flatten()
                      for name, parameter in trainer.parameters.items()]).clone()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("config", [FULL, LORA], ids=["full", "lora"])
def test_an_interrupted_run_goes_on_bit_for_bit(
    model_folder: Path, phase: Phase, tmp_path: Path, config: TrainConfig, dtype: str
) -> None:
    at_once = Trainer(policy(model_folder, dtype=dtype), config)
    at_once.step(of(at_once, phase()))
    at_once.save(tmp_path / "1")
    resumed = Trainer(policy(model_folder, tmp_path / "1", dtype=dtype), config)
    for trainer, name in ((at_once, "at once"), (resumed, "resumed")):
        trainer.step(of(trainer, phase(seed=1)))
        trainer.save(tmp_path / name)
    for path in (tmp_path / "at once").glob("*.safetensors"):
        assert path.read_bytes() == (tmp_path / "resumed" / path.name).read_bytes(), path.name
    saved = read_optimizer(tmp_path / "resumed")
    assert saved is not None
    assert any(name.endswith(".master") for name in saved) == (config is FULL and dtype != "float32")
    assert ("loss_scale" in saved) == (dtype == "float16")


@pytest.mark.parametrize("settings", [
    {"dtype": "float32"}, {"dtype": "bfloat16"}, {"dtype": "float16"},
    pytest.param({"load_in_4bit": True}, marks=needs_bitsandbytes),
    pytest.param({"load_in_4bit": True, "dtype": "bfloat16"}, marks=needs_bitsandbytes),
], ids=["float32", "bfloat16", "float16", "nf4", "nf4-bfloat16"])
def test_an_adapter_learns_on_weights_of_any_precision(
    wide_folder: Path, phase: Phase, tmp_path: Path, settings: dict[str, object]
) -> None:
    trainer = Trainer(policy(wide_folder, **settings), LORA)
    frozen = {name: p.detach().clone() for name, p in trainer.policy.model.named_parameters() if not p.requires_grad}
    losses = [trainer.step(of(trainer, phase()))["loss"] for _ in range(3)]
    trainer.save(tmp_path / "1")
    again = Trainer(policy(wide_folder, tmp_path / "1", **settings), LORA)
    losses += [again.step(of(again, phase()))["loss"] for _ in range(3)]
    assert losses[0] > losses[2] > losses[5]
    assert {p.dtype for p in again.parameters.values()} == {torch.float32}
    assert all(torch.equal(p, frozen[name]) for name, p in again.policy.model.named_parameters() if name in frozen)


@needs_bitsandbytes
@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl"])
def test_an_adapter_learns_to_see_on_weights_of_4_bits(kind: Kind, tmp_path: Path) -> None:
    folder = write_vision_model(tmp_path / "model", kind=kind)
    trainer = Trainer(policy(folder, load_in_4bit=True), dataclasses.replace(LORA, train_vision=True))
    frozen = {name: p.detach().clone() for name, p in trainer.policy.model.named_parameters() if not p.requires_grad}
    before = {name: p.detach().clone() for name, p in trainer.parameters.items()}
    records = rollouts(trainer.policy, write_pictures(tmp_path / "pictures"))
    losses = [trainer.step(of(trainer, records))["loss"] for _ in range(3)]
    assert losses[0] - losses[2] > 0.1  # then it is clipped
    changed = [name for name, p in trainer.parameters.items() if not torch.equal(p, before[name])]
    assert changed == list(before) and any("visual" in name for name in changed)
    assert all(torch.equal(p, frozen[name]) for name, p in trainer.policy.model.named_parameters() if name in frozen)


@pytest.fixture(scope="session")
def wide_folder(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The room's model with layers that are multiples of 64 wide, the blocks of NF4."""
    folder = tmp_path_factory.mktemp("wide")
    PreTrainedTokenizerFast.from_pretrained(model_folder).save_pretrained(folder)
    config = LlamaConfig.from_pretrained(model_folder, hidden_size=64, intermediate_size=128, head_dim=16)
    assert config.vocab_size == VOCABULARY
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder
