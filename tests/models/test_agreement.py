"""Ways to run a network are compared with the network itself."""

from typing import Any

import pytest
import torch
from tests.models.tiny import load_tiny, write_model
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel, RobertaConfig

from sparkcli.models.agreement import agrees, are_close, own_logprobs, probe
from sparkcli.models.prefix import Completions, Prompts, naive_hidden, shared_hidden


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    return load_tiny(write_model(tmp_path_factory.mktemp("model"))).network


@pytest.mark.parametrize("run", [naive_hidden, shared_hidden])
def test_ways_that_are_right_agree(network: PreTrainedModel, run: Any) -> None:
    assert agrees(network, run)
    assert agrees(network.to(torch.bfloat16), run)
    network.to(torch.float32)


def test_in_16_bits_single_tokens_may_stray_and_all_together_may_not(network: PreTrainedModel) -> None:
    """As those of a real model of 30 layers do, where a random one of two layers is too even to show it."""
    zeros_K, one_strays_K = torch.zeros(12), torch.tensor([0.4, *[0.03] * 11])
    assert not are_close(network, one_strays_K, zeros_K)
    try:
        network.to(torch.bfloat16)
        assert are_close(network, one_strays_K, zeros_K)
        assert not are_close(network, zeros_K + 0.5, zeros_K)
        assert not are_close(network, zeros_K + torch.nan, zeros_K)
    finally:
        network.to(torch.float32)


def test_a_way_that_drops_a_token_does_not(network: PreTrainedModel) -> None:
    def without_first(network: PreTrainedModel, prompts: Prompts, completions: Completions) -> Tensor:
        return naive_hidden(network, [type(p)(p.token_ids[1:], p.end - 1) for p in prompts], completions)

    assert not agrees(network, without_first)


def test_a_family_that_counts_positions_otherwise_is_found_out() -> None:
    config = RobertaConfig(vocab_size=60, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, is_decoder=True,
                           intermediate_size=16, max_position_embeddings=40, initializer_range=0.5)
    torch.manual_seed(0)
    assert not agrees(AutoModelForCausalLM.from_config(config).eval(), shared_hidden)


def test_log_probs_are_of_the_tokens_at_the_temperature(network: PreTrainedModel) -> None:
    prompts, completions = probe(network)
    logits_TV = network(input_ids=torch.tensor([[*prompts[1].token_ids, *completions[1][1]]])).logits[0]
    expected = [(logits_TV[5 + t] / 0.7).log_softmax(0)[token].item() for t, token in enumerate(completions[1][1])]
    assert own_logprobs(network, prompts, completions, 0.7)[-4:].tolist() == pytest.approx(expected, abs=1e-5)


def test_the_probe_shows_no_image() -> None:
    network = AutoModelForCausalLM.from_config(LlamaConfig(
        vocab_size=100, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2))
    network.config.image_token_id = 52
    prompts, completions = probe(network)
    tokens = [*(t for prompt in prompts for t in prompt.token_ids), *(t for g in completions for row in g for t in row)]
    assert len(set(tokens)) == len(tokens) and 52 not in tokens
