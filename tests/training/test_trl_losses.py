"""The loss of a block against TRL's `_compute_loss`, loss and gradient, on the same tensors and in float64.

TRL's trainers compute the log-probs themselves; here they are handed ours, so that nothing but the loss is compared.
By default TRL multiplies the KL by the ratio; here not. Its epsilon of CISPO is the bound of the ratio itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.trl_oracle import AS_TRL, LIMIT, WIDE, build, settle
from torch import Tensor

from sparkcli.config import TrainConfig
from sparkcli.method.objectives import OBJECTIVES, Objective, objective, sample_weights
from sparkcli.training.losses import policy_loss
from sparkcli.training.mismatch import correction_weights

pytestmark = pytest.mark.filterwarnings("ignore")  # TRL's and its parts' own

LENGTHS = [7, 1, 4, 6, 2, LIMIT]


@pytest.fixture(scope="module")
def grpo(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return build("GRPO", model_folder, tmp_path_factory.mktemp("grpo"))


@pytest.fixture(scope="module")
def rloo(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return build("RLOO", model_folder, tmp_path_factory.mktemp("rloo"))


@dataclass
class Block:
    """Six completions to one prompt: log-probs, entropies and advantages in float64; zeros at padding."""

    new_BT: Tensor
    old_BT: Tensor
    reference_BT: Tensor
    sampler_BT: Tensor
    entropy_BT: Tensor
    advantages_B: Tensor
    mask_BT: Tensor

    def gradients(self, loss: Tensor) -> Iterator[Tensor]:
        """Of the log-probs and of the entropies."""
        found = torch.autograd.grad(loss, (self.new_BT, self.entropy_BT), allow_unused=True)
        return (torch.zeros_like(self.new_BT) if gradient is None else gradient for gradient in found)


@pytest.fixture(params=[0.02, 0.4])
def block(request: pytest.FixtureRequest) -> Block:
    draw = torch.Generator().manual_seed(0)
    mask_BT = torch.arange(LIMIT) < torch.tensor(LENGTHS)[:, None]

    def values(scale: float, shift: Tensor | float) -> Tensor:
        return (shift + scale * torch.randn(mask_BT.shape, generator=draw, dtype=torch.float64)) * mask_BT

    new_BT = values(1.0, -3.0)
    return Block(new_BT.requires_grad_(), values(request.param, new_BT.detach()), values(0.5, new_BT.detach()),
                 values(0.3, new_BT.detach()), values(0.3, 2.0).requires_grad_(),
                 torch.tensor([1.5, -0.5, -1.0, 0.0, 0.7, -0.7], dtype=torch.float64), mask_BT)


def ours(block: Block, chosen: Objective, kl: float, bonus: float, correction_BT: Tensor | None) -> Tensor:
    (weights,) = sample_weights([LENGTHS], [[LIMIT] * 6], chosen.average)
    return policy_loss(block.new_BT, block.old_BT, block.reference_BT if kl else None,
                       block.entropy_BT if bonus else None, correction_BT, block.advantages_B,
                       torch.tensor(weights, dtype=torch.float64), block.mask_BT, objective=chosen, kl=kl,
                       kl_estimator="k3", entropy_weight=bonus / sum(LENGTHS)).total


def theirs(oracle: Any, block: Block, correction_BT: Tensor | None = None) -> Tensor:
    """TRL's loss; what it would compute the log-probs from is there, but not looked at."""
    ids = torch.zeros(block.mask_BT.shape, dtype=torch.long)
    oracle._get_per_token_logps_and_entropies = lambda *_, **__: (block.new_BT, block.entropy_BT, None)
    oracle.use_vllm = correction_BT is not None
    return oracle._compute_loss(oracle.model, {
        "prompt_ids": ids, "prompt_mask": torch.ones_like(ids), "completion_ids": ids,
        "completion_mask": block.mask_BT.long(), "advantages": block.advantages_B, "old_per_token_logps": block.old_BT,
        "old_logps": block.old_BT.sum(1), "ref_per_token_logps": block.reference_BT,
        "importance_sampling_ratio": correction_BT, "num_items_in_batch": block.mask_BT.sum()})


def check(block: Block, found: Tensor, expected: Tensor) -> None:
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)
    for ours_BT, theirs_BT in zip(block.gradients(found), block.gradients(expected), strict=True):
        assert (ours_BT - theirs_BT).norm() <= 1e-12 * theirs_BT.norm()


@pytest.mark.parametrize("name", AS_TRL)
@pytest.mark.parametrize("kl", [0.0, 0.1])
@pytest.mark.parametrize("bonus", [0.0, 0.3])
def test_losses_are_those_of_trl(grpo: Any, block: Block, name: str, kl: float, bonus: float) -> None:
    chosen = replace(OBJECTIVES[name], **WIDE.get(name, {}))  # type: ignore[arg-type]
    settle(grpo, name, chosen, kl, bonus)
    check(block, ours(block, chosen, kl, bonus, None), theirs(grpo, block))


@pytest.mark.parametrize("name", AS_TRL)
@pytest.mark.parametrize("kind", ["truncate", "mask"])
@pytest.mark.parametrize("level", ["token", "sequence"])
def test_corrected_losses_are_those_of_trl(grpo: Any, block: Block, name: str, kind: Any, level: Any) -> None:
    chosen = replace(OBJECTIVES[name], **WIDE.get(name, {}))  # type: ignore[arg-type]
    settle(grpo, name, chosen, kl=0.1, bonus=0.0)
    correction_BT = torch.stack([correction_weights(parent_T, sampler_T, kind, level, 1.5).double() for
                                 parent_T, sampler_T in zip(block.old_BT, block.sampler_BT, strict=True)])
    assert (correction_BT == (1.5 if kind == "truncate" else 0.0)).any()
    given_BT = correction_BT[:, :1] if level == "sequence" else correction_BT
    check(block, ours(block, chosen, 0.1, 0.0, correction_BT), theirs(grpo, block, given_BT))


@pytest.mark.parametrize("bounds", [{}, WIDE["rloo"]])
def test_rloo_is_that_of_trl(rloo: Any, block: Block, bounds: dict[str, float]) -> None:
    chosen = replace(OBJECTIVES["rloo"], **bounds)  # type: ignore[arg-type]
    settle(rloo, "rloo", chosen, kl=0.0, bonus=0.0)
    check(block, ours(block, chosen, 0.0, 0.0, None), theirs(rloo, block))


def test_clip_defaults_are_trls() -> None:
    trl = pytest.importorskip("trl")
    assert objective(TrainConfig(loss="grpo")).clip == trl.GRPOConfig.epsilon
    assert objective(TrainConfig(loss="rloo")).clip == trl.RLOOConfig.epsilon
