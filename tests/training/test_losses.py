"""The objective against numpy, written from the formulas."""

import numpy as np
import pytest
import torch

from sparkcli.training.losses import grpo_loss, k3

CASES = [(0.2, 0.0, 0.0), (0.2, 0.1, 0.05), (0.2, 0.1, 1.0), (0.05, 0.001, 0.5)]
"""clip, kl, and how far the old policy is from the new."""


def block(distance: float) -> dict[str, torch.Tensor]:
    """Random log-probs of 5 ragged completions with NaN in the padding, in float64."""
    draw = torch.Generator().manual_seed(int(distance * 100))
    lengths_B = torch.tensor([7, 1, 4, 6, 2])
    mask_BT = torch.arange(7) < lengths_B[:, None]
    new_BT = -torch.rand(5, 7, generator=draw, dtype=torch.float64) * 3
    old_BT, ref_BT = (new_BT + distance * torch.randn(5, 7, generator=draw, dtype=torch.float64) for _ in range(2))
    padded = [torch.where(mask_BT, values, torch.nan) for values in (new_BT, old_BT, ref_BT)]
    return {"new": padded[0], "old": padded[1], "ref": padded[2], "mask": mask_BT,
            "advantages": torch.tensor([1.5, -0.5, -1.0, 0.0, 0.7], dtype=torch.float64)}


def by_hand(new: np.ndarray, data: dict[str, torch.Tensor], clip: float, kl: float) -> float:
    """The sum over tokens, one token at a time."""
    total = 0.0
    old, ref, mask, advantages = (data[name].numpy() for name in ("old", "ref", "mask", "advantages"))
    for b, t in zip(*np.nonzero(mask), strict=True):
        ratio = np.exp(new[b, t] - old[b, t])
        total -= min(ratio * advantages[b], np.clip(ratio, 1 - clip, 1 + clip) * advantages[b])
        total += kl * (np.exp(ref[b, t] - new[b, t]) - (ref[b, t] - new[b, t]) - 1)
    return total


@pytest.mark.parametrize(("clip", "kl", "distance"), CASES)
def test_loss_and_gradient_are_the_formula(clip: float, kl: float, distance: float) -> None:
    data = block(distance)
    new_BT = data["new"].clone().requires_grad_()
    loss = grpo_loss(new_BT, data["old"], data["ref"] if kl else None, data["advantages"], data["mask"], clip, kl)
    assert float(loss.total.detach()) == pytest.approx(by_hand(data["new"].numpy(), data, clip, kl), rel=1e-12)
    (gradient_BT,) = torch.autograd.grad(loss.total, new_BT)
    for b, t in data["mask"].nonzero().tolist():
        if distance == 0 and not kl and data["advantages"][b] == 0:
            continue
        step = np.zeros((5, 7))
        step[b, t] = 1e-6
        rise = by_hand(data["new"].numpy() + step, data, clip, kl) - by_hand(data["new"].numpy() - step, data, clip, kl)
        assert float(gradient_BT[b, t]) == pytest.approx(rise / 2e-6, abs=1e-7)
    assert not gradient_BT[~data["mask"]].any()


def test_micro_batches_add_up_to_the_mini_batch() -> None:
    data = block(0.5)
    rows = [grpo_loss(*(data[name][part] for name in ("new", "old", "ref", "advantages", "mask")), 0.2, 0.1).total
            for part in (slice(0, 2), slice(2, 5))]
    whole = grpo_loss(*(data[name] for name in ("new", "old", "ref", "advantages", "mask")), 0.2, 0.1).total
    assert float(sum(rows)) == pytest.approx(float(whole), rel=1e-12)


def test_clip_counts_only_tokens_whose_gradient_it_stops() -> None:
    ratios = torch.tensor([[1.3, 0.7], [1.3, 0.7], [1.3, 0.7]])
    mask = torch.ones(3, 2, dtype=torch.bool)
    loss = grpo_loss(ratios.log(), torch.zeros(3, 2), None, torch.tensor([1.0, -1.0, 0.0]), mask, 0.2, 0.0)
    assert int(loss.clipped) == 2
    assert float(loss.ratio) == pytest.approx(6.0)
    assert float(loss.ratio_max) == pytest.approx(1.3)


def test_k3_is_never_negative_and_zero_without_distance() -> None:
    distance = torch.linspace(-3, 3, 101, dtype=torch.float64)
    assert (k3(distance) > -1e-15).all()
    assert float(k3(torch.zeros(()))) == 0
