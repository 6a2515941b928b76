"""The three forward passes give the same numbers; which one is taken; what recomputing does to the network."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sparkcli.config import TrainConfig
from sparkcli.models.policy import Policy, add_adapter
from sparkcli.training.batches import MicroBatch
from sparkcli.training.forward import Forward, choose, packed, recomputing, running, shared, unshared
from sparkcli.training.samples import Sample


@pytest.fixture
def batch(sample: Callable[..., Sample]) -> MicroBatch:
    """Groups with other prompts, completions and temperatures, one of them a single sample."""
    second = [dataclasses.replace(sample("b", n, 9, 4 - n), temperature=0.5) for n in range(2)]
    return MicroBatch([[sample("a", n, 5, n + 1) for n in range(3)], second, [sample("c", 0, 1, 7)]])


def weighted(policy: Policy, forward: Forward, batch: MicroBatch) -> tuple[Tensor, dict[str, Tensor]]:
    """Log-probs, and the gradients of a sum in which each has another weight."""
    policy.model.zero_grad()
    with running(policy.network, forward):
        logprobs_BT, mask_BT = forward(policy.model, batch)
        weights = torch.linspace(-1, 2, mask_BT.numel()).view(mask_BT.shape)
        (logprobs_BT * weights).sum().backward()
    assert mask_BT.sum(1).tolist() == [1, 2, 3, 4, 3, 7]
    return logprobs_BT.detach(), {name: p.grad.clone() for name, p in policy.model.named_parameters()
                                  if p.grad is not None}


@pytest.mark.parametrize("forward", [packed, shared])
@pytest.mark.parametrize("adapted", [False, True])
def test_every_pass_gives_the_numbers_of_whole_sequences(fresh: Callable[..., Policy], batch: MicroBatch,
                                                         forward: Forward, adapted: bool) -> None:
    policy = fresh()
    if adapted:
        add_adapter(policy, TrainConfig(lora_rank=2, lora_alpha=4))
    expected_BT, gradients = weighted(policy, unshared, batch)
    found_BT, found = weighted(policy, forward, batch)
    torch.testing.assert_close(found_BT, expected_BT, atol=1e-5, rtol=0)
    for name, gradient in gradients.items():
        assert (found[name] - gradient).norm() <= 1e-5 * gradient.norm(), name


@pytest.mark.parametrize("forward", [packed, unshared])
def test_recomputing_runs_layers_twice_and_leaves_nothing_behind(fresh: Callable[..., Policy], batch: MicroBatch,
                                                                 forward: Forward) -> None:
    policy = fresh()
    before = weighted(policy, forward, batch)
    passes: list[Any] = []
    attention = policy.network.get_submodule("model.layers.0.self_attn")
    attention.register_forward_hook(lambda *_: passes.append(None))
    with recomputing(policy.network, True):
        assert not attention.training, "dropout inside the layers must stay off"
        recomputed = weighted(policy, forward, batch)
    assert len(passes) == 2
    assert not any(module.training for module in policy.network.modules())
    assert policy.network.config._attn_implementation == "sdpa"
    for (one, other) in zip([before[0], *before[1].values()], [recomputed[0], *recomputed[1].values()], strict=True):
        torch.testing.assert_close(one, other)


def test_a_plain_model_runs_packed_with_and_without_recomputing(fresh: Callable[..., Policy]) -> None:
    assert choose(fresh().network, False) is packed
    assert choose(fresh().network, True) is packed


def test_attention_that_cannot_be_plugged_in_shares_the_cache(fresh: Callable[..., Policy],
                                                              monkeypatch: pytest.MonkeyPatch,
                                                              caplog: pytest.LogCaptureFixture) -> None:
    network = fresh().network
    monkeypatch.setattr(type(network), "_supports_attention_backend", False)
    assert choose(network, False) is shared
    assert choose(network, True) is unshared
    assert "gradient checkpointing leaves no keys and values" in caplog.text


def test_a_model_without_shareable_cache_falls_back(fresh: Callable[..., Policy],
                                                    caplog: pytest.LogCaptureFixture) -> None:
    network = fresh().network
    network.config.sliding_window = 8
    assert choose(network, False) is unshared
    assert "each sample's prompt is computed apart" in caplog.text
