"""A dry run's plan is what the phase then does."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sparkcli.config import ModelConfig, TrainConfig
from sparkcli.errors import InputError, UsageError
from sparkcli.models.policy import Policy, load
from sparkcli.records import Scored
from sparkcli.training.plan import plan, shortage
from sparkcli.training.step import Trainer

Phase = Callable[..., list[Scored]]
SIZES = ("samples", "updates", "micro_batches", "tokens", "shared_tokens", "padding_share", "attention_padding_share",
         "groups", "rollouts", "null_rewards", "reward")


def place(folder: Path, policy: Path | None = None) -> ModelConfig:
    return ModelConfig(name=str(folder), policy=str(policy) if policy else None, device="cpu")


@pytest.mark.parametrize("config", [
    TrainConfig(updates=3, tokens_per_batch=100),
    TrainConfig(method="full", updates=2, epochs=2, tokens_per_batch=60),
    TrainConfig(kl=0.0, constant_groups="keep", updates=2),
    TrainConfig(kl_in="reward", loss="reinforce++", updates=2),
    TrainConfig(truncated="mask", loss="dapo", updates=1),
], ids=["lora", "full", "constant", "taxed", "masked"])
def test_the_plan_is_what_the_phase_does(model_folder: Path, phase: Phase, scored: Callable[..., Scored],
                                         config: TrainConfig) -> None:
    records = [*phase(groups=7), *(scored("constant", n, 1.0) for n in range(4)), scored("unknown", 0, None)]
    planned = plan(records, place(model_folder), config)
    done = Trainer(load(place(model_folder)), config).step(records)
    assert {name: planned[name] for name in SIZES} == {name: done[name] for name in SIZES}


def test_the_plan_goes_on_from_a_policy(model_folder: Path, phase: Phase, tmp_path: Path) -> None:
    """The deal depends on the updates so far."""
    config = TrainConfig(updates=3, tokens_per_batch=100)
    trainer = Trainer(load(place(model_folder)), config)
    trainer.step(phase())
    trainer.save(tmp_path / "policy")
    records = phase(groups=9, seed=1)
    planned = plan(records, place(model_folder, tmp_path / "policy"), config)
    done = trainer.step(records)
    assert {name: planned[name] for name in SIZES} == {name: done[name] for name in SIZES}


def test_what_is_trained(model_folder: Path, phase: Phase, fresh: Callable[..., Policy]) -> None:
    network = fresh().network
    full = plan(phase(), place(model_folder), TrainConfig(method="full"))
    lora = plan(phase(), place(model_folder), TrainConfig(lora_rank=2))
    assert full["trainable_parameters"] == full["parameters"] == sum(p.numel() for p in network.parameters())
    assert lora["parameters"] == full["parameters"] + lora["trainable_parameters"]
    assert lora["trainable_share"] == lora["trainable_parameters"] / lora["parameters"]
    assert (lora["device"], lora["dtype"], lora["method"], lora["prompts"]) == ("cpu", "float32", "lora", "packed")


def test_nothing_to_train_on_is_a_plan_too(model_folder: Path, scored: Callable[..., Scored]) -> None:
    planned = plan([scored("p", n, 1.0) for n in range(4)], place(model_folder), TrainConfig())
    assert (planned["updates"], planned["samples"], planned["memory_mib"]) == (0, 0, None)


def test_settings_that_do_not_fit_are_refused(model_folder: Path, phase: Phase) -> None:
    with pytest.raises(UsageError, match="no layer is named 'nothing'"):
        plan(phase(), place(model_folder), TrainConfig(lora_targets=("nothing",)))


def test_tokens_of_another_model_are_refused(model_folder: Path, scored: Callable[..., Scored]) -> None:
    with pytest.raises(InputError, match="token_ids: expected ids below the vocabulary's 48, found 48"):
        plan([scored(token_ids=(48, 9))], place(model_folder), TrainConfig())


def test_too_little_memory_is_told_beforehand() -> None:
    assert shortage(3 * 2**30, 2**30) == (
        "about 3072 MiB are needed (try --gradient-checkpointing or fewer --tokens-per-batch), 1024 MiB are free")
    assert shortage(2**30, 2**30) is None
    assert shortage(2**30, None) is None
