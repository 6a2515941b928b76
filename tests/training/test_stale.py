"""Rollouts of another policy: refused, or corrected with a gradient that float64 confirms."""

import copy
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.training.references import difference, gradients_of, near

from sparkcli.config import TrainConfig
from sparkcli.errors import InputError
from sparkcli.method.advantages import advantages
from sparkcli.models.policy import Policy
from sparkcli.records import Scored, groups
from sparkcli.training.step import Trainer

Fresh = Callable[..., Policy]
Phases = Callable[..., list[Scored]]
CONFIG = TrainConfig(method="full", updates=1, kl=0.0, max_grad_norm=math.inf, lr=0.0, allow_stale=True,
                     correction_cap=1.3)


def marked(policy: Policy, records: list[Scored], stale: Callable[[int], bool]) -> list[Scored]:
    """The records as sampled by the policy itself, or a way off by another where `stale`."""
    near_by, own = near(policy, records, 0.4), near(policy, records, 0.0)
    return [dataclasses.replace(far, policy="another") if stale(n) else dataclasses.replace(
        exact, policy=policy.fingerprint) for n, (far, exact) in enumerate(zip(near_by, own, strict=True))]


def expected(policy: Policy, records: list[Scored], kind: str, level: str, is_corrected: Callable[[Scored], bool],
             cap: float) -> dict[str, torch.Tensor]:
    """The gradient of `−Σ_i Σ_t c_it A_i log p_it / tokens`, with c from the parent's own log-probs, in float64."""
    model = copy.deepcopy(policy.network).double()
    tokens = sum(len(record.token_ids or ()) for record in records)
    given = advantages([[record.reward for record in group] for group in groups(records)], "group")
    flat = [advantage for group in given for advantage in group]
    for record, advantage in zip(records, flat, strict=True):
        assert record.sampling and record.prompt_token_ids and record.token_ids and record.logprobs
        ids = torch.tensor([[*record.prompt_token_ids, *record.token_ids]])
        logits_TV = model(ids).logits[0, len(record.prompt_token_ids) - 1:-1] / record.sampling.temperature
        new_T = logits_TV.log_softmax(-1).gather(1, torch.tensor(record.token_ids)[:, None])[:, 0]
        ratios = [math.exp(p - q) for p, q in zip(new_T.tolist(), record.logprobs, strict=True)]
        if level == "sequence":
            ratios = [math.prod(ratios)] * len(ratios)
        weights = [min(r, cap) if kind == "truncate" else r * (r <= cap) for r in ratios]
        weights_T = torch.tensor(weights if is_corrected(record) else [1.0] * len(ratios), dtype=torch.float64)
        (-(weights_T * new_T).sum() * (advantage or 0.0) / tokens).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("kind", ["none", "truncate", "mask"])
def test_the_corrected_gradient_is_that_of_the_formula(fresh: Fresh, phase: Phases, kind: Any, level: Any,
                                                       temperature: float) -> None:
    """Stale rollouts are truncated unless told otherwise; fresh ones are corrected only where it is asked for."""
    policy = fresh()
    records = marked(policy, phase(groups=3, temperature=temperature), stale=lambda n: n % 3 != 0)
    config = dataclasses.replace(CONFIG, correction=kind, correction_level=level)
    metrics, found = gradients_of(Trainer(policy, config), records)
    reference = expected(policy, records, "mask" if kind == "mask" else "truncate", level,
                         lambda record: record.policy == "another" or kind != "none", config.correction_cap)
    assert metrics["ratio"] == pytest.approx(1, abs=1e-5)
    assert (metrics["stale_policy"], metrics["corrected"]) == (8, 8 if kind == "none" else 12)
    assert max(difference(found[name], gradient) for name, gradient in reference.items()) < 1e-4


def test_without_correction_the_gradient_would_be_another(fresh: Fresh, phase: Phases) -> None:
    policy = fresh()
    records = marked(policy, phase(groups=3), stale=lambda n: True)
    _, corrected = gradients_of(Trainer(policy, CONFIG), records)
    unmarked = [dataclasses.replace(record, policy=None) for record in records]
    _, plain = gradients_of(Trainer(fresh(), CONFIG), unmarked)
    assert min(difference(plain[name], gradient) for name, gradient in corrected.items()) > 0.01


def test_stale_rollouts_are_refused_unless_allowed(fresh: Fresh, phase: Phases) -> None:
    policy = fresh()
    records = marked(policy, phase(groups=2), stale=lambda n: n == 5)
    with pytest.raises(InputError, match=rf"^prompt '0/1', sample 1: policy: expected {policy.fingerprint}, the one "
                                         r"that is updated, found another \(1 of 8 rollouts are stale\)"):
        Trainer(policy, dataclasses.replace(CONFIG, allow_stale=False)).step(records)


def test_a_probe_trains_nothing_and_takes_all_rollouts(fresh: Fresh, phase: Phases) -> None:
    policy = fresh()
    records = marked(policy, phase(groups=3), stale=lambda n: n % 2 == 0)
    trainer = Trainer(policy, dataclasses.replace(CONFIG, allow_stale=False))
    before = {name: parameter.clone() for name, parameter in trainer.parameters.items()}
    report = trainer.probe([dataclasses.replace(record, reward=1.0) for record in records])
    assert (report["samples"], report["tokens"]) == (12, sum(len(record.token_ids or ()) for record in records))
    assert report["by_policy"]["fresh"]["ratio"]["max"] == pytest.approx(1, abs=1e-4)
    assert report["by_policy"]["stale"]["ratio"]["max"] > 1.3
    assert (trainer.phases, trainer.updates, policy.changed) == (0, 0, False)
    assert all(torch.equal(before[name], parameter) for name, parameter in trainer.parameters.items())
