"""The estimate of memory beside what torch's allocator really hands out while a phase runs."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import MixtralConfig, MixtralForCausalLM, Qwen2Config, Qwen2ForCausalLM

from sparkcli.config import ModelConfig, TrainConfig
from sparkcli.errors import UsageError
from sparkcli.models.policy import load, reference, trainable
from sparkcli.records import Scored
from sparkcli.training.batches import micro_batches
from sparkcli.training.estimate import Tracker, estimate
from sparkcli.training.forward import choose
from sparkcli.training.outline import outline
from sparkcli.training.plan import plan
from sparkcli.training.samples import Sample
from sparkcli.training.step import Trainer

Phase = Callable[..., list[Scored]]
CPU = torch.device("cpu")


def write_model(folder: Path, model_folder: Path, network: torch.nn.Module) -> Path:
    """A model of another architecture, with the tokenizer of the first."""
    network.save_pretrained(folder)  # type: ignore[operator]
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((model_folder / name).read_bytes())
    return folder


@pytest.fixture(scope="session")
def wide_folder(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Qwen2, 8 layers of 384, 32 thousand tokens: the head is as large as the body."""
    torch.manual_seed(0)
    return write_model(tmp_path_factory.mktemp("wide"), model_folder, Qwen2ForCausalLM(Qwen2Config(
        vocab_size=32000, hidden_size=384, intermediate_size=1536, num_hidden_layers=8, num_attention_heads=6,
        num_key_value_heads=2, tie_word_embeddings=True)))


@pytest.fixture
def named(model_folder: Path, request: pytest.FixtureRequest) -> Callable[[str], str]:
    def find(model: str) -> str:
        return {"tiny": lambda: str(model_folder), "wide": lambda: str(request.getfixturevalue("wide_folder")),
                "builtin": lambda: "builtin:tiny-math"}[model]()

    return find


def stored(network: torch.nn.Module) -> int:
    return sum(tensor.nbytes for tensor in {id(t): t for t in [*network.parameters(), *network.buffers()]}.values())


def measured(model: ModelConfig, config: TrainConfig, records: list[Scored]) -> int:
    """Weights as loaded (files are mapped: no allocator sees them), and the most that was allocated after that."""
    policy = load(model)
    with reference(policy) as frozen:
        weights = stored(policy.model) + (stored(frozen) if frozen is not policy.model else 0)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        Trainer(policy, config).step(records)
    now = peak = 0
    for event in recorded.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
    return weights + peak


def planned(model: ModelConfig, config: TrainConfig, records: list[Scored]) -> dict[str, float]:
    memory = plan(records, model, config)["memory_mib"]
    assert isinstance(memory, dict)
    return memory


@pytest.mark.parametrize(("model", "method", "checkpointing", "dtype"), [
    *itertools.product(["tiny"], ["lora", "full"], [False, True], ["float32", "bfloat16"]),
    ("builtin", "lora", False, "float32"), ("builtin", "full", True, "bfloat16")])
def test_the_estimate_is_what_a_phase_takes(named: Callable[[str], str], phase: Phase, model: str, method: str,
                                            checkpointing: bool, dtype: str) -> None:
    place = ModelConfig(name=named(model), device="cpu", dtype=dtype)  # type: ignore[arg-type]
    config = TrainConfig(method=method, gradient_checkpointing=checkpointing, updates=2,  # type: ignore[arg-type]
                         tokens_per_batch=400)
    records = phase(groups=12, samples=8)
    assert planned(place, config, records)["total"] * 2**20 == pytest.approx(measured(place, config, records), rel=0.25)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "checkpointing"), [("lora", False), ("lora", True), ("full", False)])
def test_the_estimate_of_a_wide_model(named: Callable[[str], str], phase: Phase, method: str,
                                      checkpointing: bool) -> None:
    place = ModelConfig(name=named("wide"), device="cpu")
    config = TrainConfig(method=method, gradient_checkpointing=checkpointing, updates=2)  # type: ignore[arg-type]
    records = phase(groups=4, samples=8)
    assert planned(place, config, records)["total"] * 2**20 == pytest.approx(measured(place, config, records), rel=0.25)


def test_full_weights_that_have_moved_have_a_reference_beside_them(model_folder: Path, phase: Phase,
                                                                   tmp_path: Path) -> None:
    config = TrainConfig(method="full", updates=1)
    trainer = Trainer(load(ModelConfig(name=str(model_folder), device="cpu")), config)
    trainer.step(phase())
    trainer.save(tmp_path / "policy")
    place = ModelConfig(name=str(model_folder), policy=str(tmp_path / "policy"), device="cpu")
    records = phase(seed=1)
    memory = planned(place, config, records)
    assert memory["reference"] == memory["weights"]
    assert memory["total"] * 2**20 == pytest.approx(measured(place, config, records), rel=0.25)


def test_an_estimate_is_refused_rather_than_wrong(model_folder: Path, phase: Phase, tmp_path: Path,
                                                  caplog: pytest.LogCaptureFixture) -> None:
    """Which expert sees which token is decided by numbers."""
    folder = write_model(tmp_path / "experts", model_folder, MixtralForCausalLM(MixtralConfig(
        vocab_size=48, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=4)))
    found = plan(phase(), ModelConfig(name=str(folder), device="cpu"), TrainConfig(lora_targets=("q_proj",)))
    assert found["memory_mib"] is None
    assert "no estimate of memory: mixtral cannot be run without numbers" in caplog.text


def test_the_tracker_counts_what_lives() -> None:
    tracker = Tracker(CPU)
    weight = torch.ones(1000)
    tracker.hold(weight, "weights")
    with tracker:
        first = weight * 2
        view = first[:10]
        del first
        assert tracker.alive == {"weights": 4000, "activations": 4000}
        tracker.turn(view, "gradients")
        del view
        torch.zeros(10)
    assert tracker.alive == {"weights": 4000, "activations": 0, "gradients": 0}
    assert tracker.peak == {"weights": 4000, "activations": 4000}


@pytest.mark.parametrize("dtype", ["auto", "bfloat16"])
def test_an_outline_has_the_shapes_of_the_policy(model_folder: Path, phase: Phase, tmp_path: Path, dtype: str) -> None:
    trainer = Trainer(load(ModelConfig(name=str(model_folder), device="cpu")), TrainConfig(updates=1, lora_rank=3))
    trainer.step(phase())
    trainer.save(tmp_path / "policy")
    for directory in (None, str(tmp_path / "policy")):
        place = ModelConfig(name=str(model_folder), policy=directory, device="cpu", dtype=dtype)  # type: ignore[arg-type]
        real, empty = load(place), outline(place)
        chosen = [trainable(policy, TrainConfig()).keys() for policy in (real, empty)]
        shapes = [{name: (p.shape, p.dtype, p.requires_grad) for name, p in policy.model.named_parameters()}
                  for policy in (real, empty)]
        assert chosen[0] == chosen[1]
        assert shapes[0] == shapes[1]
        assert real.fingerprint == empty.fingerprint
        assert choose(empty.network, False, tried=False) == choose(real.network, False)
        assert {p.device.type for p in empty.model.parameters()} == {"meta"}


def test_an_outline_is_checked_as_a_policy_is(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    for broken in (ModelConfig(name=str(tmp_path)), ModelConfig(name=str(model_folder), policy=str(tmp_path))):
        with pytest.raises(UsageError) as expected:
            load(broken)
        with pytest.raises(UsageError) as found:
            outline(broken)
        assert str(found.value) == str(expected.value)


def test_nf4_weights_count_half_a_byte(model_folder: Path, sample: Callable[..., Sample]) -> None:
    weights, numbers = {}, 0
    for four in (False, True):
        policy = outline(ModelConfig(name=str(model_folder), device="cpu", dtype="bfloat16", load_in_4bit=four))
        trainable(policy, TrainConfig())
        numbers = sum(module.weight.numel() for name, module in policy.network.named_modules()
                      if name.endswith(".base_layer"))
        weights[four] = estimate(policy, TrainConfig(), [micro_batches([[sample()]], 100)], "packed")["weights"]
    assert weights[False] - weights[True] == pytest.approx(numbers * (2 - 0.5 - 1 / 64), abs=100)
