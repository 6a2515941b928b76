"""The gradient on the weights against float64, from the formula, one whole sequence at a time."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sparkcli.config import TrainConfig
from sparkcli.method.advantages import group_advantages
from sparkcli.models.policy import Policy, reference
from sparkcli.records import Scored, groups
from sparkcli.training.step import Trainer

CONFIG = TrainConfig(method="full", updates=1, kl=0.1, clip=0.2, max_grad_norm=float("inf"), lr=0.0)


def gradients_of(trainer: Trainer, records: list[Scored]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Metrics of a one-update phase, and the gradient that AdamW was given."""
    found: dict[str, Tensor] = {}

    def keep() -> None:
        found.update({name: p.grad.clone() for name, p in trainer.parameters.items() if p.grad is not None})

    trainer.optimizer.step = keep  # type: ignore[method-assign, assignment]
    return trainer.step(records), found


def by_hand(model: Any, frozen: Any, records: list[Scored], config: TrainConfig) -> Tensor:
    """The loss in float64: a forward pass for each sample, a formula for each token, the mean over all of them."""
    terms: list[Tensor] = []
    for group in groups(records):
        advantages = group_advantages([record.reward for record in group])
        for record, advantage in zip(group, advantages, strict=True):
            assert record.sampling and record.prompt_token_ids and record.token_ids and record.logprobs and advantage
            ids = torch.tensor([[*record.prompt_token_ids, *record.token_ids]])
            start = len(record.prompt_token_ids) - 1
            new_TV, ref_TV = ((m(ids).logits[0, start:-1] / record.sampling.temperature).log_softmax(-1)
                              for m in (model, frozen))
            for t, token in enumerate(record.token_ids):
                ratio = torch.exp(new_TV[t, token] - record.logprobs[t])
                inside = ratio.clamp(1 - config.clip, 1 + config.clip)
                distance = ref_TV[t, token].detach() - new_TV[t, token]
                surrogate = torch.minimum(ratio * advantage, inside * advantage)
                terms.append(config.kl * (distance.exp() - distance - 1) - surrogate)
    return torch.stack(terms).mean()


def move(policy: Policy) -> None:
    """Takes the trained weights away from the reference, so that the KL has something to pull at."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.02 * torch.randn_like(parameter))


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_loss_and_gradient_equal_float64(fresh: Callable[..., Policy], phase: Callable[..., list[Scored]], method: Any,
                                         temperature: float) -> None:
    config, records = dataclasses.replace(CONFIG, method=method), phase(temperature=temperature)
    trainer = Trainer(fresh(), config)
    move(trainer.policy)
    model = copy.deepcopy(trainer.policy.model).double()
    with reference(trainer.policy) as live:
        frozen = copy.deepcopy(live).double()
    model.zero_grad()
    expected = by_hand(model, frozen, records, config)
    expected.backward()
    metrics, gradients = gradients_of(trainer, records)
    assert metrics["loss"] == pytest.approx(float(expected.detach()), rel=1e-5)
    assert 0 < metrics["clip_share"] < 1
    assert metrics["kl"] > 1e-4
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            difference = (gradients[name].double() - parameter.grad).norm() / parameter.grad.norm()
            assert difference < 2e-5, f"{name}: {float(difference):.1e}"


@pytest.mark.parametrize("changes", [
    {"tokens_per_batch": 1}, {"tokens_per_batch": 60}, {"gradient_checkpointing": True}])
def test_the_cut_into_forward_passes_changes_nothing(fresh: Callable[..., Policy], phase: Callable[..., list[Scored]],
                                                     changes: dict[str, Any]) -> None:
    metrics, gradients = gradients_of(Trainer(fresh(), CONFIG), phase())
    other_metrics, other = gradients_of(Trainer(fresh(), dataclasses.replace(CONFIG, **changes)), phase())
    assert other_metrics["loss"] == pytest.approx(metrics["loss"], rel=1e-5)
    assert metrics["micro_batches"] == 1
    assert (other_metrics["micro_batches"] > 1) == ("tokens_per_batch" in changes)
    for name, gradient in gradients.items():
        assert (other[name] - gradient).norm() <= 1e-5 * gradient.norm(), name
