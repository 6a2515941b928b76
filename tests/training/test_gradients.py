"""The gradient on the weights against float64, from the formulas, one whole sequence at a time."""

import copy
import dataclasses
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from tests.training.references import constant, difference, gradients_of, move, near
from torch import Tensor

from sparkcli.config import TrainConfig
from sparkcli.method.objectives import OBJECTIVES, Objective, objective, sample_weights
from sparkcli.models.policy import Policy, reference
from sparkcli.records import Scored, groups
from sparkcli.training.losses import policy_loss
from sparkcli.training.step import Trainer

CONFIG = TrainConfig(method="full", updates=1, kl=0.1, max_grad_norm=float("inf"), lr=0.0)
CLIPS: dict[str, dict[str, float]] = {"gspo": {"clip": 0.05, "clip_high": 0.1}, "rloo": {"clip": 0.5, "clip_high": 0.9},
                                      "cispo": {"clip": 1.0, "clip_high": 0.2}}
"""Bounds that some ratios are within and some beyond, where the preset's are not."""


@dataclass
class Row:
    """One completion in float64, with gradients."""

    new_T: Tensor
    old_T: Tensor
    reference_T: Tensor
    entropy_T: Tensor
    advantage: float


def rows_of(model: Any, frozen: Any, records: list[Scored], advantage: str) -> list[list[Row]]:
    """A forward pass for each completion, and its advantage."""
    call = [record.reward or 0.0 for record in records]
    found = []
    for group in groups(records):
        rewards = [record.reward or 0.0 for record in group]
        rows = []
        for record in group:
            assert record.sampling and record.prompt_token_ids and record.token_ids
            ids = torch.tensor([[*record.prompt_token_ids, *record.token_ids]])
            start = len(record.prompt_token_ids) - 1
            new_TV, ref_TV = ((m(ids).logits[0, start:-1] / record.sampling.temperature).log_softmax(-1)
                              for m in (model, frozen))
            tokens_T1 = torch.tensor(record.token_ids)[:, None]
            rows.append(Row(new_TV.gather(1, tokens_T1)[:, 0], torch.tensor(record.logprobs).double(),
                            ref_TV.gather(1, tokens_T1)[:, 0].detach(), -(new_TV.exp() * new_TV).sum(-1),
                            advantage_of(record.reward or 0.0, rewards, call, advantage)))
        found.append(rows)
    return found


def advantage_of(reward: float, group: list[float], call: list[float], kind: str) -> float:
    among = call if kind == "batch" else group
    centred = reward - statistics.mean(among)
    if len(set(among)) == 1:
        return 0.0
    if kind in ("group", "batch"):
        return centred / statistics.stdev(among)
    return centred if kind == "mean" else reward - (sum(group) - reward) / (len(group) - 1)


def surrogate_T(row: Row, chosen: Objective) -> Tensor:
    ratio_T = torch.exp(row.new_T - row.old_T)
    low, high = 1 - chosen.clip, 1 + chosen.clip_high
    if chosen.surrogate == "cispo":
        return -ratio_T.clamp(low, high).detach() * row.advantage * row.new_T
    if chosen.surrogate == "clip-sequence":
        ratio_T = ratio_T.prod().pow(1 / len(ratio_T)).expand_as(ratio_T)
    elif chosen.surrogate == "clip-product":
        ratio_T = ratio_T.prod().expand_as(ratio_T)
    return -torch.minimum(ratio_T * row.advantage, ratio_T.clamp(low, high) * row.advantage)


def by_hand(found: list[list[Row]], config: TrainConfig) -> Tensor:
    """The loss in float64: a term for each token, and the mean that the objective takes over them."""
    chosen = objective(config)
    if chosen.constant_groups == "drop":
        found = [rows for rows in found if any(row.advantage for row in rows)]
    terms: list[list[Tensor]] = []
    for rows in found:
        distances = [row.reference_T - row.new_T for row in rows]
        terms.append([surrogate_T(row, chosen) + config.kl * (d.exp() - d - 1)
                      for row, d in zip(rows, distances, strict=True)])
    flat = [term_T for part in terms for term_T in part]
    loss = {"token": lambda: torch.cat(flat).mean(),
            "group": lambda: torch.stack([torch.cat(part).mean() for part in terms]).mean(),
            "completion": lambda: torch.stack([term_T.mean() for term_T in flat]).mean(),
            "constant": lambda: torch.stack([term_T.sum() / 12 for term_T in flat]).mean()}[chosen.average]()
    return loss - config.entropy_bonus * torch.cat([row.entropy_T for rows in found for row in rows]).mean()


def compare(policy: Policy, config: TrainConfig, records: list[Scored]) -> dict[str, Any]:
    """Asserts that loss and gradients of one update are those by hand; returns the metrics."""
    trainer = Trainer(policy, config)
    move(trainer.policy)
    model = copy.deepcopy(trainer.policy.model).double()
    with reference(trainer.policy) as live:
        frozen = copy.deepcopy(live).double()
    model.zero_grad()
    expected = by_hand(rows_of(model, frozen, records, objective(config).advantage), config)
    expected.backward()
    metrics, gradients = gradients_of(trainer, records)
    assert metrics["loss"] == pytest.approx(float(expected.detach()), rel=1e-5, abs=1e-6)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert difference(gradients[name], parameter.grad) <= 1e-5, name
    return metrics


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_loss_and_gradient_equal_float64(fresh: Callable[..., Policy], phase: Callable[..., list[Scored]], method: Any,
                                         temperature: float) -> None:
    metrics = compare(fresh(), dataclasses.replace(CONFIG, method=method), phase(temperature=temperature))
    assert 0 < metrics["clip_share"] < 1
    assert metrics["kl"] > 1e-4


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("bonus", [0.0, 0.05])
def test_every_objective_equals_float64(fresh: Callable[..., Policy], phase: Callable[..., list[Scored]], name: Any,
                                        bonus: float) -> None:
    policy = fresh()
    config = dataclasses.replace(CONFIG, loss=name, entropy_bonus=bonus, **CLIPS.get(name, {}))
    records = constant(near(policy, phase(groups=4), 0.3), "0/2")
    metrics = compare(policy, config, records)
    assert 0 < metrics["clip_share"] < 1
    assert metrics["entropy"] > 0


@pytest.mark.parametrize("changes", [
    {"tokens_per_batch": 1}, {"tokens_per_batch": 60}, {"gradient_checkpointing": True}])
@pytest.mark.parametrize("name", ["spark", "grpo", "bnpo", "gspo"])
def test_the_cut_into_forward_passes_changes_nothing(fresh: Callable[..., Policy], phase: Callable[..., list[Scored]],
                                                     name: Any, changes: dict[str, Any]) -> None:
    config = dataclasses.replace(CONFIG, loss=name, entropy_bonus=0.01)
    metrics, gradients = gradients_of(Trainer(fresh(), config), phase())
    other_metrics, other = gradients_of(Trainer(fresh(), dataclasses.replace(config, **changes)), phase())
    assert other_metrics["loss"] == pytest.approx(metrics["loss"], rel=1e-5)
    assert metrics["micro_batches"] == 1
    assert (other_metrics["micro_batches"] > 1) == ("tokens_per_batch" in changes)
    for key, gradient in gradients.items():
        assert difference(other[key], gradient) <= 1e-5, key


LENGTHS = [5, 1, 3, 4]
MASK_BT = torch.arange(5) < torch.tensor(LENGTHS)[:, None]


class Network(torch.nn.Module):
    """The smallest language model: a distribution over 6 tokens that depends on the token before."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.head = torch.nn.Embedding(6, 3), torch.nn.Linear(3, 6)
        self.double()

    def forward(self, ids_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probs of each token but the first, and the entropies there."""
        logprobs_BTV = self.head(torch.tanh(self.embedding(ids_BT[:, :-1]))).log_softmax(-1)
        entropy_BT = -(logprobs_BTV.exp() * logprobs_BTV).sum(-1)
        return logprobs_BTV.gather(2, ids_BT[:, 1:, None])[..., 0], entropy_BT


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_gradients_through_a_network_are_finite_differences(name: Any, estimator: str) -> None:
    network, draw = Network(), torch.Generator().manual_seed(1)
    ids_BT = torch.randint(6, (4, 6), generator=draw)
    chosen = objective(TrainConfig(loss=name, **CLIPS.get(name, {})))  # type: ignore[arg-type]
    (weights,) = sample_weights([LENGTHS], [[8] * 4], chosen.average)
    log_ratio_BT, distance_BT, shift_BT = (scale * torch.randn(4, 5, generator=draw, dtype=torch.float64)
                                           for scale in (0.3, 0.5, 0.2))
    start_BT = network(ids_BT)[0].detach()

    def loss(*_: Tensor) -> Tensor:
        new_BT, entropy_BT = network(ids_BT)
        held_BT = new_BT.detach() if name == "cispo" else start_BT  # CISPO's weight is a constant, so hold its ratio
        return policy_loss(
            new_BT, held_BT - log_ratio_BT, start_BT + distance_BT, entropy_BT, 1 + shift_BT,
            torch.tensor([1.2, -0.8, 0.0, -1.5], dtype=torch.float64), torch.tensor(weights, dtype=torch.float64),
            MASK_BT, objective=chosen, kl=0.1, kl_estimator=estimator, entropy_weight=0.01).total

    assert torch.autograd.gradcheck(loss, tuple(network.parameters()))
