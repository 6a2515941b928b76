"""What tests of whole updates share: policies that have moved, rollouts of policies nearby, gradients as found."""

import dataclasses
from typing import Any

import torch
from tests.logprobs import naive_logprobs
from torch import Tensor

from sparkcli.models.policy import Policy
from sparkcli.records import Scored
from sparkcli.training.step import Trainer


def gradients_of(trainer: Trainer, records: list[Scored]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Metrics of a phase, and the gradient that its last update was given."""
    found: dict[str, Tensor] = {}
    step = trainer.optimizer.step

    def watched(rate: float) -> Any:
        found.update({name: gradient.clone() for name, gradient in trainer.optimizer.gradients().items()})
        return step(rate)

    trainer.optimizer.step = watched  # type: ignore[method-assign]
    return trainer.step(records), found


def move(policy: Policy, distance: float = 0.02) -> None:
    """Takes the trained weights away from the reference, so that the KL has something to pull at."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            if parameter.requires_grad:
                parameter.add_(distance * torch.randn_like(parameter))
    policy.changed = True


def near(policy: Policy, records: list[Scored], distance: float) -> list[Scored]:
    """The records as sampled by a policy that is `distance` (standard deviation of the log ratio) away."""
    draw = torch.Generator().manual_seed(5)
    temperature = records[0].sampling.temperature if records[0].sampling else 1.0
    with torch.no_grad():
        exact_BT, _ = naive_logprobs(policy.model, [record.prompt_token_ids or () for record in records],
                                     [[record.token_ids or ()] for record in records], temperature)
    noisy_BT = (exact_BT + distance * torch.randn(exact_BT.shape, generator=draw)).clamp(max=0.0)
    return [dataclasses.replace(record, logprobs=tuple(noisy_T[:len(record.token_ids or ())].tolist()))
            for record, noisy_T in zip(records, noisy_BT, strict=True)]


def constant(records: list[Scored], id: str, reward: float = 1.0) -> list[Scored]:
    """The records with one prompt's rewards all the same."""
    return [dataclasses.replace(record, reward=reward) if record.id == id else record for record in records]


def difference(found: Tensor, expected: Tensor) -> float:
    """Relative, of one parameter's gradient."""
    return float((found.double() - expected.double()).norm() / expected.norm())
