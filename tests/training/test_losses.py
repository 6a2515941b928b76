"""Every loss against float64, written from the formulas one token at a time in plain Python."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sparkcli.method.objectives import OBJECTIVES, Objective, sample_weights
from sparkcli.training.losses import Loss, kl_of, policy_loss

GROUPS = [[7, 1, 4], [6, 2]]
"""Tokens of five completions to two prompts; at most eight were allowed."""
LENGTHS = [7, 1, 4, 6, 2]
ADVANTAGES = [1.5, -0.5, -1.0, 0.0, 0.7]
WIDE = {"gspo": {"clip": 0.05, "clip_high": 0.1}, "rloo": {"clip": 0.5, "clip_high": 0.9}, "cispo": {"clip_high": 0.2}}
"""Bounds that some of the ratios below are within and some beyond, where the preset's are not."""
Rows = list[list[float]]


def widened(name: str) -> Objective:
    return replace(OBJECTIVES[name], **WIDE.get(name, {}))  # type: ignore[arg-type]


class Block:
    """Random log-probs, entropies and importance weights in float64, with NaN in the padding."""

    def __init__(self, objective: Objective, distance: float = 0.2) -> None:
        draw = torch.Generator().manual_seed(3)
        self.mask_BT = torch.arange(7) < torch.tensor(LENGTHS)[:, None]

        def values(scale: float, shift: Tensor | float = 0.0) -> Tensor:
            noise_BT = torch.randn(5, 7, generator=draw, dtype=torch.float64)
            return torch.where(self.mask_BT, shift + scale * noise_BT, torch.nan)

        self.new_BT = values(1.0, -3.0)
        self.old_BT, self.reference_BT = values(distance, self.new_BT), values(0.5, self.new_BT)
        self.entropy_BT, self.correction_BT = values(0.3, 2.0), values(0.2, 1.0)
        weights = sample_weights(GROUPS, [[8, 8, 8], [8, 8]], objective.average)
        self.weights_B = torch.tensor([w for part in weights for w in part], dtype=torch.float64)
        self.advantages_B = torch.tensor(ADVANTAGES, dtype=torch.float64)

    def rows(self, values_BT: Tensor) -> Rows:
        """Values without padding."""
        return [values_T[:length].tolist() for values_T, length in zip(values_BT, LENGTHS, strict=True)]

    def loss(self, objective: Objective, new_BT: Tensor | None = None, part: slice = slice(None),
             **changes: Any) -> Loss:
        """`policy_loss` of the block, or of some of its rows."""
        settings = {"kl": 0.1, "kl_estimator": "k3", "entropy_weight": 0.0, **changes}
        tensors = (self.new_BT if new_BT is None else new_BT, self.old_BT, self.reference_BT, self.entropy_BT,
                   self.correction_BT, self.advantages_B, self.weights_B, self.mask_BT)
        return policy_loss(*(tensor[part] for tensor in tensors), objective=objective, **settings)  # type: ignore[misc]


def token_losses(name: str, new: Rows, held: Rows, old: Rows, objective: Objective) -> Rows:
    """The surrogate of each token. `held` are the log-probs that no gradient goes through."""
    low, high = 1 - objective.clip, 1 + objective.clip_high
    losses: Rows = []
    for new_T, held_T, old_T, advantage in zip(new, held, old, ADVANTAGES, strict=True):
        if name == "cispo":
            weights = [min(max(math.exp(h - o), low), high) for h, o in zip(held_T, old_T, strict=True)]
            losses.append([-w * advantage * n for w, n in zip(weights, new_T, strict=True)])
            continue
        ratios = [math.exp(n) / math.exp(o) for n, o in zip(new_T, old_T, strict=True)]
        if name == "gspo":
            ratios = [math.prod(ratios) ** (1 / len(ratios))] * len(ratios)
        elif name == "rloo":
            ratios = [math.prod(ratios)] * len(ratios)
        losses.append([-min(r * advantage, min(max(r, low), high) * advantage) for r in ratios])
    return losses


def mean(average: str, losses: Rows) -> float:
    """The mean of the update, as the paper of the preset takes it."""
    if average == "token":
        return sum(map(sum, losses)) / 20
    if average == "completion":
        return sum(sum(tokens) / len(tokens) for tokens in losses) / 5
    if average == "group":
        return (sum(map(sum, losses[:3])) / 12 + sum(map(sum, losses[3:])) / 8) / 2
    return sum(sum(tokens) / 8 for tokens in losses) / 5


KL: dict[str, Callable[[float, float], float]] = {
    "k1": lambda p, q: math.log(p / q), "k2": lambda p, q: math.log(p / q) ** 2 / 2,
    "k3": lambda p, q: q / p - 1 - math.log(q / p)}


def by_hand(name: str, block: Block, new: Rows, objective: Objective, estimator: str, corrected: bool,
            bonus: float) -> float:
    """The whole loss: mean of corrected surrogates and of KL terms, less the mean entropy of all tokens."""
    held, old, reference, entropy, correction = map(block.rows, (
        block.new_BT, block.old_BT, block.reference_BT, block.entropy_BT, block.correction_BT))
    policy = token_losses(name, new, held, old, objective)
    if corrected:
        policy = [[c * x for c, x in zip(c_T, x_T, strict=True)] for c_T, x_T in zip(correction, policy, strict=True)]
    kl = [[KL[estimator](math.exp(n), math.exp(q)) for n, q in zip(n_T, q_T, strict=True)]
          for n_T, q_T in zip(new, reference, strict=True)]
    return (mean(objective.average, policy) + 0.1 * mean(objective.average, kl) - bonus * sum(map(sum, entropy)) / 20)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize(("estimator", "corrected", "bonus"), list(itertools.product(
    ("k1", "k2", "k3"), (False, True), (0.0, 0.3))))
def test_loss_and_gradient_are_the_formula(name: str, estimator: str, corrected: bool, bonus: float) -> None:
    objective = widened(name)
    block = Block(objective)
    if not corrected:
        block.correction_BT = torch.ones_like(block.correction_BT)
    new_BT = block.new_BT.clone().requires_grad_()
    loss = block.loss(objective, new_BT, kl_estimator=estimator, entropy_weight=bonus / 20)

    def value(new: Rows) -> float:
        return by_hand(name, block, new, objective, estimator, corrected, bonus)

    assert float(loss.total.detach()) == pytest.approx(value(block.rows(block.new_BT)), rel=1e-12)
    (gradient_BT,) = torch.autograd.grad(loss.total, new_BT)
    for b, t in block.mask_BT.nonzero().tolist():
        up, down = block.rows(block.new_BT), block.rows(block.new_BT)
        up[b][t] += 1e-6
        down[b][t] -= 1e-6
        assert float(gradient_BT[b, t]) == pytest.approx((value(up) - value(down)) / 2e-6, abs=1e-8)
    assert not gradient_BT[~block.mask_BT].any()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_some_ratios_are_clipped_and_some_are_not(name: str) -> None:
    loss = Block(widened(name)).loss(widened(name))
    assert 0 < int(loss.clipped_low) + int(loss.clipped_high) < 20


@pytest.mark.parametrize("name", OBJECTIVES)
def test_without_reference_entropy_and_correction_the_surrogate_is_left(name: str) -> None:
    objective = widened(name)
    block = Block(objective)
    loss = policy_loss(block.new_BT, block.old_BT, None, None, None, block.advantages_B, block.weights_B, block.mask_BT,
                       objective=objective, kl=0.1, kl_estimator="k3", entropy_weight=0.3)
    losses = token_losses(name, *map(block.rows, (block.new_BT, block.new_BT, block.old_BT)), objective)
    assert float(loss.total) == float(loss.policy) == pytest.approx(mean(objective.average, losses), rel=1e-12)
    assert float(loss.kl) == float(loss.entropy) == 0


@pytest.mark.parametrize("name", OBJECTIVES)
def test_blocks_add_up(name: str) -> None:
    block, objective = Block(widened(name)), widened(name)
    whole = block.loss(objective, entropy_weight=0.01)
    parts = [block.loss(objective, part=part, entropy_weight=0.01) for part in (slice(0, 2), slice(2, 5))]
    for field in ("total", "policy", "kl", "entropy", "clipped_low", "clipped_high", "ratio"):
        assert float(sum(getattr(part, field) for part in parts)) == pytest.approx(float(getattr(whole, field)))
    assert max(float(part.ratio_max) for part in parts) == float(whole.ratio_max)


def test_only_the_total_carries_a_gradient() -> None:
    block, objective = Block(OBJECTIVES["spark"]), OBJECTIVES["spark"]
    block.entropy_BT.requires_grad_()
    loss = block.loss(objective, block.new_BT.clone().requires_grad_(), entropy_weight=0.1)
    assert [field for field in Loss.__slots__ if getattr(loss, field).requires_grad] == ["total"]
    (gradient_BT,) = torch.autograd.grad(loss.total, block.entropy_BT)
    assert torch.equal(gradient_BT, -0.1 * block.mask_BT.double())


def plain(log_ratio_BT: Tensor, advantages: list[float], name: str = "spark", **bounds: float) -> Loss:
    objective = replace(OBJECTIVES[name], **bounds)  # type: ignore[arg-type]
    return policy_loss(log_ratio_BT, torch.zeros_like(log_ratio_BT), None, None, None, torch.tensor(advantages),
                       torch.ones(len(advantages)), torch.ones_like(log_ratio_BT, dtype=torch.bool),
                       objective=objective, kl=0.0, kl_estimator="k3", entropy_weight=0.0)


def test_clip_counts_only_tokens_whose_gradient_it_stops() -> None:
    loss = plain(torch.tensor([[1.3, 0.7]] * 3).log(), [1.0, -1.0, 0.0])
    assert (int(loss.clipped_low), int(loss.clipped_high)) == (1, 1)
    assert float(loss.ratio) == pytest.approx(6.0)
    assert float(loss.ratio_max) == pytest.approx(1.3)


def test_clip_of_a_sequence_counts_all_of_its_tokens() -> None:
    loss = plain(torch.tensor([[1.3, 1.0], [1.3, 1.0]]).log(), [1.0, -1.0], "rloo")
    assert (int(loss.clipped_low), int(loss.clipped_high)) == (0, 2)
    assert float(loss.ratio) == pytest.approx(4 * 1.3)


def test_cispo_cuts_the_weight_of_either_sign_and_keeps_the_gradient() -> None:
    log_ratio_BT = torch.tensor([[9.0, 1.0], [9.0, 1.0]]).log().requires_grad_()
    loss = plain(log_ratio_BT, [1.0, -1.0], "cispo")
    assert (int(loss.clipped_low), int(loss.clipped_high)) == (0, 2)
    (gradient_BT,) = torch.autograd.grad(loss.total, log_ratio_BT)
    assert torch.allclose(gradient_BT, torch.tensor([[-5.0, -1.0], [5.0, 1.0]]))


def test_a_ratio_of_1_gives_the_policy_gradient_whatever_the_surrogate() -> None:
    for name in ("spark", "gspo", "rloo", "cispo"):
        log_ratio_BT = torch.zeros(2, 4, requires_grad=True)
        (gradient_BT,) = torch.autograd.grad(plain(log_ratio_BT, [1.0, -2.0], name).total, log_ratio_BT)
        per_token = torch.tensor([[-1.0], [2.0]]) * (4 if name == "rloo" else 1)  # summed over equal copies of a ratio
        assert torch.allclose(gradient_BT, per_token.expand(2, 4)), name


@pytest.mark.parametrize("name", ["spark", "gspo", "rloo", "cispo"])
@pytest.mark.parametrize("advantage", [1.0, 0.0])
def test_a_ratio_beyond_float32_does_not_turn_what_is_clipped_into_nan(name: str, advantage: float) -> None:
    log_ratio_BT = torch.full((1, 3), 200.0, requires_grad=True)
    loss = plain(log_ratio_BT, [advantage], name)
    (gradient_BT,) = torch.autograd.grad(loss.total, log_ratio_BT)
    assert gradient_BT.isfinite().all() and all(getattr(loss, field).isfinite() for field in Loss.__slots__)


def test_a_ratio_beyond_float32_that_no_clip_stops_is_seen() -> None:
    assert plain(torch.full((1, 3), 200.0), [-1.0]).total.isinf()


@pytest.mark.parametrize(("estimator", "expected"), [("k1", 0.5), ("k2", 0.125), ("k3", math.exp(-0.5) - 0.5)])
def test_estimators_of_the_kl_by_hand(estimator: str, expected: float) -> None:
    assert float(kl_of(estimator, torch.tensor(-1.0), torch.tensor(-1.5))) == pytest.approx(expected)


def test_k2_and_k3_are_never_negative_and_all_are_zero_without_distance() -> None:
    distance = torch.linspace(-3, 3, 101, dtype=torch.float64)
    for estimator in ("k1", "k2", "k3"):
        assert estimator == "k1" or (kl_of(estimator, distance, torch.zeros(())) > -1e-15).all()
        assert float(kl_of(estimator, torch.ones(()), torch.ones(()))) == 0


@pytest.mark.parametrize(("estimator", "bias"), [("k1", 1e-12), ("k2", 2e-2), ("k3", 1e-12)])
def test_the_expectation_is_the_kl(estimator: str, bias: float) -> None:
    draw = torch.Generator().manual_seed(0)
    p_V, q_V = (torch.randn(50, generator=draw, dtype=torch.float64).mul(0.3).log_softmax(0) for _ in range(2))
    exact = float((p_V.exp() * (p_V - q_V)).sum())
    assert float((p_V.exp() * kl_of(estimator, p_V, q_V)).sum()) == pytest.approx(exact, abs=bias)
