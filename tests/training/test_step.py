"""A phase on a small model: what it changes, what it keeps, what it refuses."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.logprobs import completion_logprobs
from torch.nn import functional

from sparkcli.config import TrainConfig
from sparkcli.errors import InputError, SparkError, UsageError
from sparkcli.models.policy import Policy
from sparkcli.records import Scored
from sparkcli.training.metrics import MACHINE
from sparkcli.training.step import Trainer

Fresh = Callable[..., Policy]
Phases = Callable[..., list[Scored]]
CONFIG = TrainConfig(method="full", lr=1e-3, updates=2, lora_rank=4, lora_alpha=8)


def contents(directory: Path) -> dict[str, bytes]:
    """Every file of a policy directory."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def without_seconds(metrics: dict[str, Any]) -> dict[str, Any]:
    """What does not depend on the clock and the machine."""
    return {name: value for name, value in metrics.items() if name not in MACHINE}


@pytest.mark.parametrize("method", ["full", "lora"])
def test_saving_loading_and_going_on_equals_never_having_stopped(fresh: Fresh, phase: Phases, tmp_path: Path,
                                                                 method: Any) -> None:
    config = dataclasses.replace(CONFIG, method=method, schedule="linear", warmup_updates=1, total_updates=20)
    kept = Trainer(fresh(), config)
    first = kept.step(phase(seed=1))
    kept.save(tmp_path / "1")
    second = kept.step(phase(seed=2))
    kept.save(tmp_path / "2")
    resumed = Trainer(fresh(tmp_path / "1"), config)
    assert without_seconds(resumed.step(phase(seed=2))) == without_seconds(second)
    resumed.save(tmp_path / "again")
    assert contents(tmp_path / "again") == contents(tmp_path / "2")
    assert (first["total_updates"], second["total_updates"]) == (2, 4)
    assert [first["lr"], second["lr"]] == pytest.approx([config.lr, config.lr * 17 / 19])


def test_same_input_and_seed_same_bytes(fresh: Fresh, phase: Phases, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        trainer = Trainer(fresh(), dataclasses.replace(CONFIG, seed=seed))
        trainer.step(phase())
        trainer.save(tmp_path / name)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a")["model.safetensors"] != contents(tmp_path / "c")["model.safetensors"]


def test_state_and_metrics_are_written_without_times(fresh: Fresh, phase: Phases, tmp_path: Path) -> None:
    trainer = Trainer(fresh(), CONFIG)
    metrics = trainer.step(phase())
    trainer.save(tmp_path / "p")
    state = json.loads((tmp_path / "p" / "trainer_state.json").read_bytes())
    assert (state["phase"], state["updates"], state["seed"]) == (1, 2, 0)
    assert state["config"] == json.loads(json.dumps(dataclasses.asdict(CONFIG)))
    assert state["metrics"] == json.loads(json.dumps(without_seconds(metrics)))
    assert set(metrics["seconds"]) == {"read", "reference", "parent", "forward", "backward", "optimizer"}
    assert metrics["tokens_per_second"] > 0


def test_metrics_of_a_phase(fresh: Fresh, phase: Phases) -> None:
    records = phase(groups=5, samples=4)
    metrics = Trainer(fresh(), CONFIG).step(records)
    assert metrics["updates"] == 2
    assert metrics["samples"] == metrics["rollouts"] == 20
    assert metrics["groups"] == {"all_right": 0, "all_wrong": 0, "equal_partial": 0, "mixed": 5, "unknown": 0}
    assert metrics["reward"]["solve"] == pytest.approx(sum(record.reward or 0 for record in records) / 20)
    assert metrics["tokens"] >= sum(len(record.token_ids or ()) for record in records)
    assert metrics["padding_share"] == 0
    assert 0 < metrics["attention_padding_share"] < 0.6
    assert metrics["loss"] == pytest.approx(metrics["policy_loss"] + CONFIG.kl * metrics["kl"])
    assert metrics["grad_norm"] > 0


def on_policy(policy: Policy, records: list[Scored]) -> list[Scored]:
    """The records with the log-probs that this very policy gives their tokens."""
    exact = []
    for record in records:
        with torch.no_grad():
            logprobs_BT, _ = completion_logprobs(policy.model, [record.prompt_token_ids or ()],
                                                 [[record.token_ids or ()]])
        exact.append(dataclasses.replace(record, logprobs=tuple(logprobs_BT[0].tolist())))
    return exact


def test_the_second_update_is_clipped_and_the_first_is_not(fresh: Fresh, phase: Phases) -> None:
    records = on_policy(fresh(), phase())
    config = dataclasses.replace(CONFIG, lr=0.02)
    single = Trainer(fresh(), dataclasses.replace(config, updates=1)).step(records)
    assert single["clip_share"] == 0
    assert single["ratio_max"] == pytest.approx(1, abs=1e-4)
    assert single["kl"] == pytest.approx(0, abs=1e-6)
    double = Trainer(fresh(), config).step(records)
    assert double["clip_share"] > 0.05
    assert double["ratio_max"] > 1.2


def test_without_a_mixed_group_nothing_is_updated(fresh: Fresh, scored: Callable[..., Scored], tmp_path: Path) -> None:
    trainer = Trainer(fresh(), CONFIG)
    before = {name: parameter.clone() for name, parameter in trainer.parameters.items()}
    metrics = trainer.step([scored(sample=n, reward=0.0) for n in range(4)])
    assert (metrics["updates"], metrics["samples"], metrics["loss"], metrics["lr"]) == (0, 0, None, None)
    assert metrics["groups"]["all_wrong"] == 1
    assert all(torch.equal(before[name], parameter) for name, parameter in trainer.parameters.items())
    trainer.save(tmp_path / "p")
    assert trainer.step([])["phase"] == 2


def test_kl_zero_needs_no_reference(fresh: Fresh, phase: Phases) -> None:
    trainer = Trainer(fresh(), dataclasses.replace(CONFIG, kl=0.0))
    metrics = trainer.step(phase())
    assert trainer.policy.frozen is None
    assert metrics["loss"] == metrics["policy_loss"]


def test_unusable_input_leaves_the_policy_alone(fresh: Fresh, scored: Callable[..., Scored]) -> None:
    trainer = Trainer(fresh(), CONFIG)
    with pytest.raises(InputError, match="prompt 'p', sample 1: token_ids: expected ids below the vocabulary's 48"):
        trainer.step([scored(), scored(sample=1, reward=0.0, token_ids=(3, 48))])
    assert not trainer.policy.changed


def test_infinity_names_the_first_record_and_writes_nothing(fresh: Fresh, phase: Phases) -> None:
    records = phase(groups=4)
    bad = next(i for i, record in enumerate(records) if record.id == "0/2" and record.reward == 0.0)
    records[bad] = dataclasses.replace(records[bad], logprobs=(-1000.0,) * len(records[bad].logprobs or ()))
    trainer = Trainer(fresh(), CONFIG)
    with pytest.raises(SparkError, match=rf"^prompt '0/2', sample {records[bad].sample}: the loss or its gradient"):
        trainer.step(records)


def test_broken_weights_before_the_first_update_are_told_with_the_first_sample(fresh: Fresh, phase: Phases) -> None:
    policy = fresh()
    policy.network.get_output_embeddings().weight.data[3, 3] = math.nan
    policy.changed = True
    records = phase()
    for config in (dataclasses.replace(CONFIG, correction="truncate", kl=0.0), dataclasses.replace(CONFIG, kl=0.0)):
        with pytest.raises(SparkError, match=r"^prompt '0/0', sample 0: .* not finite .*; nothing was written"):
            Trainer(policy, dataclasses.replace(config, updates=1)).step(records)
    with pytest.raises(SparkError, match=r"^prompt '0/0', sample 0: its log-probs are not finite"):
        Trainer(policy, CONFIG).probe(records)


def test_broken_weights_are_named(fresh: Fresh, phase: Phases) -> None:
    trainer = Trainer(fresh(), dataclasses.replace(CONFIG, lr=math.inf, updates=1))
    with pytest.raises(SparkError, match=r"\w+: not finite after update 1"):
        trainer.step(phase())


def test_methods_that_do_not_fit_the_policy_are_refused(fresh: Fresh, phase: Phases, tmp_path: Path) -> None:
    for method in ("full", "lora"):
        trainer = Trainer(fresh(), dataclasses.replace(CONFIG, method=method))
        trainer.step(phase())
        trainer.save(tmp_path / method)
    with pytest.raises(UsageError, match="has an adapter"):
        Trainer(fresh(tmp_path / "lora"), CONFIG)
    with pytest.raises(UsageError, match="full weights of its own"):
        Trainer(fresh(tmp_path / "full"), dataclasses.replace(CONFIG, method="lora"))


@pytest.mark.parametrize(("method", "lr"), [("full", 3e-3), ("lora", 2e-2)])
def test_a_few_steps_on_an_easy_reward_raise_it(fresh: Fresh, scored: Callable[..., Scored], method: Any,
                                                lr: float) -> None:
    """The reward is for an even token; half of them are, and the model must come to prefer them."""
    trainer = Trainer(fresh(), dataclasses.replace(CONFIG, method=method, lr=lr, lora_rank=16, lora_alpha=32))
    draw = torch.Generator().manual_seed(0)
    prompts = [(3, 4, 5), (9, 8), (20, 21, 22, 23), (30,)]
    rewards = []
    for step in range(8):
        records = []
        for number, prompt in enumerate(prompts):
            with torch.no_grad():
                logits_V = trainer.policy.model(torch.tensor([prompt])).logits[0, -1]
            tokens = torch.multinomial(logits_V.softmax(-1), 16, replacement=True, generator=draw).tolist()
            logprobs_V = functional.log_softmax(logits_V, -1)
            records += [scored(f"{step}/{number}", n, float(token % 2 == 0), prompt_token_ids=prompt,
                               token_ids=(token,), logprobs=(float(logprobs_V[token]),))
                        for n, token in enumerate(tokens)]
        rewards.append(trainer.step(records)["reward"]["solve"])
    assert min(rewards[-3:]) > rewards[0] + 0.2, rewards
