"""A prompt computed once gives what the plain forward pass over each whole sequence gives."""

from pathlib import Path

import pytest
import torch
from tests.logprobs import completion_logprobs, naive_logprobs
from tests.models.tiny import load_tiny, stir

from sparkcli.config import TrainConfig
from sparkcli.models.policy import Policy, add_adapter
from sparkcli.models.prefix import filled, pad_right, spread

PROMPTS = [[5, 6, 7, 8, 9, 10, 11], [20, 21], [40, 41, 42, 43]]
COMPLETIONS = [[[1, 2, 3, 4], [9]], [[7, 7, 7], [8, 1], [3, 2, 1, 0, 5]], [[30, 31]]]


@pytest.fixture(params=["full", "lora"])
def policy(request: pytest.FixtureRequest, model_folder: Path) -> Policy:
    policy = load_tiny(model_folder)
    if request.param == "lora":
        add_adapter(policy, TrainConfig(lora_rank=4, lora_alpha=8))
        stir(policy)
    return policy


def gradients(policy: Policy, logprobs_BT: torch.Tensor) -> dict[str, torch.Tensor]:
    """Of a sum with different weights everywhere, so that no error can cancel."""
    weights_BT = torch.linspace(-1, 1, logprobs_BT.numel()).reshape(logprobs_BT.shape)
    trainable = {name: p for name, p in policy.model.named_parameters() if p.requires_grad}
    return dict(zip(trainable, torch.autograd.grad((weights_BT * logprobs_BT).sum(), list(trainable.values()),
                                                   allow_unused=True), strict=True))


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_shared_prompt_equals_the_naive_forward_and_its_gradients(policy: Policy, temperature: float) -> None:
    shared_BT, mask_BT = completion_logprobs(policy.model, PROMPTS, COMPLETIONS, temperature)
    naive_BT, naive_mask_BT = naive_logprobs(policy.model, PROMPTS, COMPLETIONS, temperature)
    assert mask_BT.tolist() == naive_mask_BT.tolist()
    assert mask_BT.sum(1).tolist() == [4, 1, 3, 2, 5, 2]
    torch.testing.assert_close(shared_BT, naive_BT, rtol=0, atol=1e-5)
    expected = gradients(policy, naive_BT)
    found = gradients(policy, shared_BT)
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-5 * gradient.abs().max().item() + 1e-7)


def test_the_padding_of_the_others_changes_nothing(policy: Policy) -> None:
    together_BT, _ = completion_logprobs(policy.model, PROMPTS, COMPLETIONS)
    alone_BT, _ = completion_logprobs(policy.model, PROMPTS[1:2], COMPLETIONS[1:2])
    torch.testing.assert_close(together_BT[2:5], alone_BT, rtol=0, atol=1e-5)


def test_each_row_may_have_its_own_temperature(policy: Policy) -> None:
    temperatures_B = torch.tensor([1.0, 0.5, 0.7, 0.7, 1.3, 1.0])
    mixed_BT, _ = completion_logprobs(policy.model, PROMPTS, COMPLETIONS, temperatures_B)
    cold_BT, _ = completion_logprobs(policy.model, PROMPTS, COMPLETIONS, 0.5)
    torch.testing.assert_close(mixed_BT[1], cold_BT[1])


def test_completions_of_one_token_need_only_the_prompt(policy: Policy) -> None:
    shared_BT, _ = completion_logprobs(policy.model, PROMPTS[:1], [[[3], [4]]])
    naive_BT, _ = naive_logprobs(policy.model, PROMPTS[:1], [[[3], [4]]])
    torch.testing.assert_close(shared_BT, naive_BT, rtol=0, atol=1e-5)


def test_values_are_spread_to_where_the_tokens_stand() -> None:
    rows, cpu = [[7, 8], [], [9, 10, 11]], torch.device("cpu")
    ids_BT, mask_BT = pad_right(rows, cpu)
    assert filled([2, 0, 3], cpu).tolist() == mask_BT.flatten().nonzero()[:, 0].tolist()
    values_BT = spread(torch.tensor([7.0, 8.0, 9.0, 10.0, 11.0], requires_grad=True), [2, 0, 3])
    assert values_BT.tolist() == ids_BT.tolist()
    values_BT.sum().backward()
