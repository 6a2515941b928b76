"""The head in chunks against the formula in float64; which heads may be trained, adapted, scaled or capped."""

from typing import Any

import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedConfig

from sparkcli.models.head import FEWEST_ROWS, Entropy, chosen_logprobs, chunk_rows, head_parameters, logits_of
from sparkcli.models.network import body_of

VOCABULARY, WIDTH, ROWS = 40, 12, 7
IDS_K = torch.tensor([0, 39, 5, 5, 17, 2, 8])
TEMPERATURES: list[float | Tensor] = [1.0, 0.6, torch.tensor([1.0, 0.5, 0.7, 0.7, 1.3, 2.0, 1.0])]


def network_of_one_layer(*, tied: bool = False) -> LlamaForCausalLM:
    """A body that is not used, and a head with large random weights."""
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
        initializer_range=0.5, tie_word_embeddings=tied)).eval()


@pytest.fixture
def network() -> LlamaForCausalLM:
    return network_of_one_layer()


@pytest.fixture
def hidden_KD() -> Tensor:
    return torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(1)).requires_grad_()


def formula(logits_KV: Tensor, temperature: float | Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of `IDS_K` and entropies, from their definitions."""
    powers_KV = torch.exp(logits_KV / (temperature[:, None] if isinstance(temperature, Tensor) else temperature))
    probs_KV = powers_KV / powers_KV.sum(1, keepdim=True)
    return probs_KV[torch.arange(ROWS), IDS_K].log(), -(probs_KV * probs_KV.log()).sum(1)


def weighted(logprobs_K: Tensor, entropy_K: Tensor | None) -> Tensor:
    """A sum in which no row counts like another."""
    weights_K = torch.linspace(-1, 2, ROWS)
    return (weights_K * logprobs_K).sum() + (0 if entropy_K is None else (weights_K.flip(0) * entropy_K).sum())


def close(found: Tensor | None, expected: Tensor | None) -> None:
    assert found is not None and expected is not None
    assert found.dtype == torch.float32
    assert (found.double() - expected).norm() <= 2e-6 * expected.norm() + 1e-7


@pytest.mark.parametrize("rows", [1, 3, ROWS, None])
@pytest.mark.parametrize("temperature", TEMPERATURES, ids=["1", "0.6", "mixed"])
@pytest.mark.parametrize("entropy", ["none", "value", "gradient"])
@pytest.mark.parametrize("trained", [False, True])
def test_values_and_gradients_are_those_of_float64(network: LlamaForCausalLM, hidden_KD: Tensor, rows: int | None,
                                                   temperature: float | Tensor, entropy: Entropy,
                                                   trained: bool) -> None:
    network.lm_head.requires_grad_(trained)
    logprobs_K, entropy_K = chosen_logprobs(network, hidden_KD, IDS_K, temperature, entropy=entropy, rows=rows)
    weighted(logprobs_K, entropy_K if entropy == "gradient" else None).backward()

    wide_KD = hidden_KD.detach().double().requires_grad_()
    weight_VD = network.lm_head.weight.detach().double().requires_grad_()
    expected_K, expected_entropy_K = formula(wide_KD @ weight_VD.T, temperature)
    weighted(expected_K, expected_entropy_K if entropy == "gradient" else None).backward()

    close(logprobs_K, expected_K)
    close(hidden_KD.grad, wide_KD.grad)
    if entropy == "none":
        assert entropy_K is None
    else:
        close(entropy_K, expected_entropy_K)
        assert entropy_K is not None and entropy_K.requires_grad == (entropy == "gradient")
    if trained:
        close(network.lm_head.weight.grad, weight_VD.grad)
    else:
        assert network.lm_head.weight.grad is None


SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8, "initializer_range": 0.5, "pad_token_id": 0,
    "bos_token_id": 2, "eos_token_id": 1}
FAMILIES: dict[str, PreTrainedConfig] = {
    "multiplied, 1": transformers.CohereConfig(**SMALL, logit_scale=0.3),
    "multiplied, 2": transformers.HyperCLOVAXConfig(**SMALL, logits_scaling=4.0),
    "divided": transformers.GraniteConfig(**SMALL, logits_scaling=4.0),
    "capped": transformers.Gemma2Config(**SMALL, final_logit_softcapping=2.0),
    "a hybrid's own name": transformers.FalconH1Config(**SMALL, lm_head_multiplier=0.2, mamba_d_ssm=32, mamba_n_heads=4,
                                                       mamba_d_head=8, mamba_d_state=8),
    "layers before the head": transformers.ModernBertDecoderConfig(**{**SMALL, "initializer_range": 0.1}),
    "a bias and layers": transformers.BertConfig(**SMALL, is_decoder=True),
    "the decoder asked directly": transformers.OPTConfig(
        vocab_size=VOCABULARY, hidden_size=16, ffn_dim=16, num_hidden_layers=2, num_attention_heads=2, init_std=0.5,
        word_embed_proj_dim=8, pad_token_id=0),
    "tied": transformers.LlamaConfig(**SMALL, tie_word_embeddings=True),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("trained", [False, True])
def test_what_a_family_does_after_its_body_is_done_here_too(family: str, trained: bool) -> None:
    torch.manual_seed(0)
    network: Any = transformers.AutoModelForCausalLM.from_config(FAMILIES[family]).eval().requires_grad_(trained)
    bodies: list[Any] = []
    body_of(network).register_forward_hook(lambda *given: bodies.append(given[-1]))
    ids_1T = torch.arange(ROWS + 1)[None] * 4
    expected_KV = network(input_ids=ids_1T, use_cache=False).logits[0, :-1]
    if not bodies:  # some ask the decoder in it
        body_of(network)(input_ids=ids_1T, use_cache=False)
    hidden_KD = bodies[0].last_hidden_state[0, :-1].detach().requires_grad_()
    found = chosen_logprobs(network, hidden_KD, ids_1T[0, 1:], 0.7, entropy="gradient", rows=3)
    logprobs_KV = (expected_KV / 0.7).log_softmax(1)
    expected_K = logprobs_KV.gather(1, ids_1T[0, 1:, None])[:, 0]
    entropy_K = -(logprobs_KV.exp() * logprobs_KV).sum(1)
    torch.testing.assert_close(found, (expected_K, entropy_K), atol=2e-6, rtol=2e-6)

    (gradient_KD,) = torch.autograd.grad(weighted(*found), [hidden_KD], retain_graph=trained)
    plain_KD = hidden_KD.detach().requires_grad_()
    plain_KV = (logits_of(network, plain_KD) / 0.7).log_softmax(1)
    plain = weighted(plain_KV.gather(1, ids_1T[0, 1:, None])[:, 0], -(plain_KV.exp() * plain_KV).sum(1))
    torch.testing.assert_close(gradient_KD, torch.autograd.grad(plain, [plain_KD], retain_graph=trained)[0])
    if trained:
        for one, other in zip(torch.autograd.grad(weighted(*found), head_parameters(network)),
                              torch.autograd.grad(plain, head_parameters(network)), strict=True):
            torch.testing.assert_close(one, other)


def test_the_body_is_as_it_was_after_the_head_has_run(network: LlamaForCausalLM, hidden_KD: Tensor) -> None:
    ids_1T = torch.tensor([[1, 2, 3]])
    before = network(input_ids=ids_1T).logits
    logits_of(network, hidden_KD)
    assert torch.equal(network(input_ids=ids_1T).logits, before)


@pytest.mark.parametrize("options", [
    {"target_modules": ["lm_head"], "r": 2}, {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}],
    ids=["adapter", "saved module"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.filterwarnings("ignore")  # PEFT's, about tied heads
def test_a_head_under_an_adapter_is_trained_through_it(hidden_KD: Tensor, options: dict[str, Any], tied: bool) -> None:
    network = network_of_one_layer(tied=tied)
    model = get_peft_model(network, LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **options))
    head = {name: p for name, p in model.named_parameters() if p.requires_grad and "lm_head" in name}
    assert head
    logprobs_K, _ = chosen_logprobs(network, hidden_KD, IDS_K, 0.7, rows=2)
    found = torch.autograd.grad(weighted(logprobs_K, None), [hidden_KD, *head.values()])
    expected_K, _ = formula(network.lm_head(hidden_KD), 0.7)
    expected = torch.autograd.grad(weighted(expected_K, None), [hidden_KD, *head.values()])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_tied_embeddings_get_the_heads_gradient_too(hidden_KD: Tensor) -> None:
    network = network_of_one_layer(tied=True)
    logprobs_K, _ = chosen_logprobs(network, hidden_KD, IDS_K, rows=2)
    (found,) = torch.autograd.grad(weighted(logprobs_K, None), [network.get_input_embeddings().weight])
    expected_K, _ = formula(hidden_KD @ network.get_input_embeddings().weight.T, 1.0)
    (expected,) = torch.autograd.grad(weighted(expected_K, None), [network.get_input_embeddings().weight])
    torch.testing.assert_close(found, expected)


def test_hidden_states_of_half_precision_give_float32_and_take_their_own_back(network: LlamaForCausalLM,
                                                                              hidden_KD: Tensor) -> None:
    network.to(torch.bfloat16).requires_grad_(False)
    half_KD = hidden_KD.detach().bfloat16().requires_grad_()
    logprobs_K, entropy_K = chosen_logprobs(network, half_KD, IDS_K, TEMPERATURES[2], entropy="gradient", rows=2)
    weighted(logprobs_K, entropy_K).backward()
    expected_K, _ = formula(half_KD.double() @ network.lm_head.weight.double().T, TEMPERATURES[2])
    assert logprobs_K.dtype == torch.float32
    torch.testing.assert_close(logprobs_K.double(), expected_K, atol=0.03, rtol=0.01)
    assert half_KD.grad is not None and half_KD.grad.dtype == torch.bfloat16


def test_without_gradients_nothing_is_kept(network: LlamaForCausalLM, hidden_KD: Tensor) -> None:
    with torch.no_grad():
        logprobs_K, entropy_K = chosen_logprobs(network, hidden_KD, IDS_K, entropy="value", rows=2)
    assert logprobs_K.grad_fn is None and entropy_K is not None and entropy_K.grad_fn is None
    close(logprobs_K, formula(hidden_KD.double() @ network.lm_head.weight.double().T, 1.0)[0])


def test_chunks_hold_a_fixed_number_of_bytes_but_never_a_few_rows() -> None:
    cpu = torch.device("cpu")
    assert chunk_rows(32_000, cpu) == 24 * 2**20 // (4 * 32_000)
    assert chunk_rows(151_936, cpu) == FEWEST_ROWS
