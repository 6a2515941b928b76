"""Which forward pass is taken, and what recomputing does to the network."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from sparkcli.models.policy import Policy, add_adapter
from sparkcli.training.batches import MicroBatch
from sparkcli.training.forward import choose, recomputing, shared, unshared
from sparkcli.training.samples import Sample


@pytest.fixture
def batch(sample: Callable[..., Sample]) -> MicroBatch:
    """Two groups with other prompts, completions and temperatures."""
    return MicroBatch([[sample("a", n, 5, n + 1) for n in range(3)], [sample("b", 0, 9, 4)]])


def test_both_passes_give_the_same_log_probs(fresh: Callable[..., Policy], batch: MicroBatch) -> None:
    policy = fresh()
    (one_BT, mask_BT), (other_BT, _) = shared(policy.model, batch), unshared(policy.model, batch)
    assert mask_BT.sum(1).tolist() == [1, 2, 3, 4]
    torch.testing.assert_close(one_BT, other_BT, atol=1e-5, rtol=0)


@pytest.mark.parametrize("adapted", [False, True])
def test_recomputing_runs_layers_twice_and_leaves_nothing_behind(fresh: Callable[..., Policy], batch: MicroBatch,
                                                                 adapted: bool) -> None:
    policy = fresh()
    if adapted:
        add_adapter(policy, 2, 4, 0)
    passes: list[Any] = []
    attention = policy.network.get_submodule("model.layers.0.self_attn")
    handle = attention.register_forward_hook(lambda *_: passes.append(None))
    with recomputing(policy.network, True):
        assert not attention.training, "dropout inside the layers must stay off"
        unshared(policy.model, batch)[0].sum().backward()
    handle.remove()
    assert len(passes) == 2
    assert not any(module.training for module in policy.network.modules())
    assert choose(policy.network, False) is shared


def test_a_model_without_shareable_cache_falls_back(fresh: Callable[..., Policy],
                                                    caplog: pytest.LogCaptureFixture) -> None:
    policy = fresh()
    policy.network.config.sliding_window = 8
    assert choose(policy.network, False) is unshared
    assert "each sample's prompt is computed apart" in caplog.text
