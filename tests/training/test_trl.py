"""One update against TRL's `_compute_loss`: loss and gradient on the weights, from the same records and weights.

TRL pads prompts on the left and computes them once a sample. What it is given as a batch is here the whole update.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.logprobs import naive_logprobs
from tests.training.references import difference, gradients_of, move, near
from tests.training.trl_oracle import WIDE, build, settle
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sparkcli.config import TrainConfig
from sparkcli.method.advantages import advantages
from sparkcli.method.objectives import OBJECTIVES, objective
from sparkcli.models.policy import Policy, reference
from sparkcli.models.prefix import pad_left, pad_right
from sparkcli.records import Scored, groups
from sparkcli.training.step import Trainer

pytestmark = pytest.mark.filterwarnings("ignore")  # TRL's and its parts' own
CPU = torch.device("cpu")
Oracles = dict[tuple[str, float], Any]
"""TRL's trainers by kind and temperature."""


@pytest.fixture(scope="module")
def oracles(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Oracles:
    return {key: build(key[0], model_folder, tmp_path_factory.mktemp(key[0]), key[1])
            for key in (("GRPO", 1.0), ("GRPO", 0.7), ("RLOO", 1.0))}


def inputs_of(records: list[Scored], kind: str, ref_BT: Tensor) -> dict[str, Tensor]:
    """The batch as TRL takes it."""
    prompt_ids, prompt_mask = pad_left([record.prompt_token_ids or () for record in records], CPU)
    ids, mask = pad_right([record.token_ids or () for record in records], CPU)
    old_BT = pad_sequence([torch.tensor(record.logprobs) for record in records], batch_first=True)
    values = advantages([[record.reward for record in group] for group in groups(records)], kind)
    return {"prompt_ids": prompt_ids, "prompt_mask": prompt_mask, "completion_ids": ids, "completion_mask": mask.long(),
            "advantages": torch.tensor([a for group in values for a in group]), "ref_per_token_logps": ref_BT,
            "old_per_token_logps": old_BT, "old_logps": old_BT.sum(1), "num_items_in_batch": mask.sum()}


def batches_of(records: list[Scored], loss: str) -> list[slice]:
    """Rows that TRL takes as one batch: a group for `bnpo`, else all."""
    sizes = [len(group) for group in groups(records)] if loss == "bnpo" else [len(records)]
    ends = [sum(sizes[:i + 1]) for i in range(len(sizes))]
    return [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]


def compare(policy: Policy, oracle: Any, config: TrainConfig, records: list[Scored]) -> dict[str, Any]:
    """Asserts that loss and gradient of an update are TRL's; returns our metrics."""
    trainer = Trainer(policy, config)
    move(policy, 0.01)
    with reference(policy) as frozen, torch.no_grad():
        ref_BT, _ = naive_logprobs(frozen, [record.prompt_token_ids or () for record in records],
                                   [[record.token_ids or ()] for record in records], oracle.temperature)
    settle(oracle, config.loss, objective(config), config.kl, config.entropy_bonus)
    model = oracle.model
    model.load_state_dict(policy.model.state_dict())
    model.zero_grad()
    given = inputs_of(records, objective(config).advantage, ref_BT)
    parts = batches_of(records, config.loss)
    expected = torch.stack([oracle._compute_loss(
        model, {name: values[part] if values.dim() else values for name, values in given.items()}) for part in parts])
    expected.mean().backward()

    metrics, gradients = gradients_of(trainer, records)
    assert metrics["loss"] == pytest.approx(float(expected.mean().detach()), rel=1e-5, abs=1e-7)
    for name, parameter in model.named_parameters():
        assert difference(gradients[name], parameter.grad) <= 1e-5, name
    return metrics


def settings(**changes: Any) -> TrainConfig:
    return TrainConfig(**{"method": "full", "updates": 1, "lr": 0.0, "max_grad_norm": float("inf"), **changes})


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("kl", [0.0, 0.1])
@pytest.mark.parametrize("distance", [0.0, 0.1, 0.6])
def test_an_update_is_trls(fresh: Callable[..., Policy], phase: Callable[..., list[Scored]], oracles: Oracles,
                           kl: float, distance: float, temperature: float) -> None:
    oracle, policy = oracles["GRPO", temperature], fresh()
    records = near(policy, phase(groups=4, temperature=temperature), distance)
    metrics = compare(policy, oracle, settings(kl=kl), records)
    assert metrics["clip_share"] > distance / 2


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_is_trls(fresh: Callable[..., Policy], phase: Callable[..., list[Scored]],
                                 oracles: Oracles, name: Any) -> None:
    oracle, policy = oracles["RLOO" if name == "rloo" else "GRPO", 1.0], fresh()
    kl = 0.0 if name == "rloo" else 0.1  # TRL's has it in the reward, and no bonus
    bonus = 0.0 if name in ("rloo", "bnpo") else 0.05  # for which TRL's takes the mean over a group as well
    records = near(policy, phase(groups=4), 0.3)
    metrics = compare(policy, oracle, settings(loss=name, kl=kl, entropy_bonus=bonus, **WIDE.get(name, {})), records)
    assert 0 < metrics["clip_share"] < 1
