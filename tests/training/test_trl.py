"""Loss and gradient against TRL's `GRPOTrainer._compute_loss` on the same tensors and the same model.

TRL's `bnpo` is the token mean over the batch that it is given: our mini-batch mean, when it is given the whole of it.
TRL pads prompts on the left and computes them once a sample. By default it multiplies the KL by the ratio; here not.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sparkcli.config import TrainConfig
from sparkcli.method.advantages import group_advantages
from sparkcli.models.policy import Policy, reference
from sparkcli.models.prefix import naive_logprobs, pad_left, pad_right
from sparkcli.records import Scored, groups
from sparkcli.training.step import Trainer

pytestmark = pytest.mark.filterwarnings("ignore")  # TRL's and its parts' own


@pytest.fixture(scope="module", params=[1.0, 0.7])
def oracle(request: pytest.FixtureRequest, model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A GRPOTrainer on the CPU, for each temperature, that will not be asked to generate or to step."""
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl")
    arguments = trl.GRPOConfig(output_dir=str(tmp_path_factory.mktemp("trl")), loss_type="bnpo", epsilon=0.2,
                               temperature=request.param, use_bias_correction_kl=False, use_cpu=True, bf16=False,
                               gradient_checkpointing=False, report_to="none",
                               per_device_train_batch_size=2, num_generations=2, max_completion_length=12)
    return trl.GRPOTrainer(model=str(model_folder), reward_funcs=lambda completions, **_: [0.0] * len(completions),
                           args=arguments, train_dataset=datasets.Dataset.from_dict({"prompt": ["w3", "w4"]}))


def inputs_of(records: list[Scored], ref_BT: Tensor | None) -> dict[str, Any]:
    """The batch as TRL takes it."""
    prompt_ids, prompt_mask = pad_left([record.prompt_token_ids or () for record in records], torch.device("cpu"))
    ids, mask = pad_right([record.token_ids or () for record in records], torch.device("cpu"))
    old = [torch.tensor(record.logprobs) for record in records]
    advantages = [a for group in groups(records) for a in group_advantages([record.reward for record in group])]
    return {"prompt_ids": prompt_ids, "prompt_mask": prompt_mask, "completion_ids": ids, "completion_mask": mask.long(),
            "advantages": torch.tensor(advantages), "ref_per_token_logps": ref_BT,
            "old_per_token_logps": torch.nn.utils.rnn.pad_sequence(old, batch_first=True),
            "num_items_in_batch": mask.sum()}


def near(policy: Policy, records: list[Scored], distance: float) -> list[Scored]:
    """The records as sampled by a policy that is `distance` (standard deviation of the log ratio) away."""
    draw = torch.Generator().manual_seed(5)
    moved = []
    for record in records:
        with torch.no_grad():
            temperature = record.sampling.temperature if record.sampling else 1.0
            exact_BT, _ = naive_logprobs(policy.model, [record.prompt_token_ids or ()], [[record.token_ids or ()]],
                                         temperature)
        noise_T = distance * torch.randn(exact_BT.shape[1], generator=draw)
        moved.append(dataclasses.replace(record, logprobs=tuple((exact_BT[0] + noise_T).tolist())))
    return moved


@pytest.mark.parametrize("kl", [0.0, 0.1])
@pytest.mark.parametrize("distance", [0.0, 0.1, 0.6])
def test_loss_and_gradient_equal_trl(fresh: Callable[..., Policy], phase: Callable[..., list[Scored]], oracle: Any,
                                     kl: float, distance: float) -> None:
    config = TrainConfig(method="full", updates=1, kl=kl, clip=0.2, max_grad_norm=float("inf"))
    trainer = Trainer(fresh(), config)
    records = near(trainer.policy, phase(groups=4, temperature=oracle.temperature), distance)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in trainer.parameters.values():
            parameter.add_(0.01 * torch.randn_like(parameter))  # so that the reference is not the policy
    found: dict[str, Tensor] = {}
    trainer.optimizer.step = lambda: found.update(  # type: ignore[method-assign, assignment]
        {name: p.grad.clone() for name, p in trainer.parameters.items() if p.grad is not None})
    metrics = trainer.step(records)

    with reference(trainer.policy) as frozen, torch.no_grad():
        ref_BT, _ = naive_logprobs(frozen, [record.prompt_token_ids or () for record in records],
                                   [[record.token_ids or ()] for record in records], oracle.temperature)
    oracle.beta = kl
    model = oracle.model
    model.load_state_dict(trainer.policy.model.state_dict())
    model.zero_grad()
    expected = oracle._compute_loss(model, inputs_of(records, ref_BT))
    expected.backward()

    assert metrics["loss"] == pytest.approx(float(expected.detach()), rel=1e-5, abs=1e-7)
    assert metrics["clip_share"] > distance / 2
    for name, parameter in model.named_parameters():
        difference = (found[name] - parameter.grad).norm() / parameter.grad.norm()
        assert difference <= 1e-5, f"{name}: {float(difference):.1e}"
