"""The ways of the forward pass against transformers' own logits in float64; which is taken; what updates do."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from torch._subclasses import FakeTensorMode
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    ReformerConfig,
    ReformerModelWithLMHead,
    XLNetConfig,
    XLNetLMHeadModel,
)

from sparkcli.errors import UsageError
from sparkcli.models.prefix import network_of
from sparkcli.training.batches import MicroBatch, Way
from sparkcli.training.forward import Scorer, choose
from sparkcli.training.samples import Sample

SIZES: dict[str, Any] = {"vocab_size": 48, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
                         "num_attention_heads": 4, "initializer_range": 0.2, "pad_token_id": 0}


def llama() -> PreTrainedModel:
    """Grouped heads, embeddings tied to the head."""
    return LlamaForCausalLM(LlamaConfig(num_key_value_heads=2, tie_word_embeddings=True, **SIZES))


def qwen2() -> PreTrainedModel:
    """A key for every query head, biases, a head of its own."""
    return Qwen2ForCausalLM(Qwen2Config(num_key_value_heads=4, tie_word_embeddings=False, **SIZES))


def mistral() -> PreTrainedModel:
    """A sliding window that is shorter than the sequences."""
    return MistralForCausalLM(MistralConfig(num_key_value_heads=2, sliding_window=4, **SIZES))


def gemma2() -> PreTrainedModel:
    """Scores and logits capped by tanh; no windows."""
    return Gemma2ForCausalLM(Gemma2Config(num_key_value_heads=2, head_dim=8, query_pre_attn_scalar=8,
                                          attn_logit_softcapping=1.0, final_logit_softcapping=5.0,
                                          layer_types=["full_attention"] * 2, **SIZES))


def mamba() -> PreTrainedModel:
    """A recurrent state in place of keys and values."""
    return MambaForCausalLM(MambaConfig(vocab_size=48, hidden_size=32, state_size=8, num_hidden_layers=2,
                                        pad_token_id=0))


def bloom() -> PreTrainedModel:
    """Attention of its own, with a bias for distance."""
    return BloomForCausalLM(BloomConfig(vocab_size=48, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.2))


def xlnet() -> PreTrainedModel:
    """Tokens that see those after them."""
    return XLNetLMHeadModel(XLNetConfig(vocab_size=48, d_model=32, n_layer=2, n_head=4, d_inner=48))


def reformer() -> PreTrainedModel:
    """Layers that run backwards too, and keep gradients from what is in them where the embeddings are frozen."""
    return ReformerModelWithLMHead(ReformerConfig(
        vocab_size=48, is_decoder=True, hidden_size=32, num_attention_heads=4, attention_head_size=8,
        feed_forward_size=48, attn_layers=["local"] * 2, axial_pos_embds=False, max_position_embeddings=64))


def build(make: Callable[[], PreTrainedModel], adapted: bool = False, dropout: float = 0.0) -> Any:
    """A model with random weights, biases included; with `adapted`, only those of an adapter on it can be trained."""
    torch.manual_seed(0)
    network = make().eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.2)
    if not adapted:
        return network
    return get_peft_model(network, LoraConfig(r=2, lora_alpha=4, lora_dropout=dropout, init_lora_weights=False,
                                              target_modules="all-linear", task_type="CAUSAL_LM")).eval()


def part(name: str, prompt: int, lengths: list[int], temperature: float = 1.0) -> list[Sample]:
    """Samples of a prompt of `prompt` tokens, with completions of given lengths."""
    draw = torch.Generator().manual_seed(len(name) + prompt)

    def ids(length: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, 48, (length,), generator=draw).tolist())

    prompt_T = ids(prompt)
    return [Sample(id=name, number=n, task="solve", prompt_T=prompt_T, completion_T=ids(length),
                   logprobs_T=(-1.0,) * length, temperature=temperature, reward=1.0)
            for n, length in enumerate(lengths)]


BATCHES = {
    "one group": MicroBatch([part("a", 5, [3, 1, 6, 6], temperature=0.8)]),
    "like prompts": MicroBatch([part("a", 4, [2, 5]), part("b", 4, [3])]),
    "ragged": MicroBatch([part("a", 5, [1, 2, 3]), part("b", 9, [4, 3], temperature=0.5), part("c", 1, [7])]),
}


@pytest.fixture(params=list(BATCHES))
def batch(request: pytest.FixtureRequest) -> MicroBatch:
    return BATCHES[request.param]


def loss_of(logprobs_BT: Tensor, entropy_BT: Tensor) -> Tensor:
    """A sum in which no token counts like another."""
    weights_BT = torch.linspace(-1, 2, logprobs_BT.numel()).view(logprobs_BT.shape)
    return (weights_BT * logprobs_BT).sum() + (weights_BT.square() * entropy_BT).sum() / 4


def by_hand(model: Any, batch: MicroBatch) -> tuple[Tensor, Tensor]:
    """Log-probs and entropies from transformers' logits of each whole sequence, 0 at padding."""
    logprobs, entropies = [], []
    for sample in batch.samples:
        start = len(sample.prompt_T) - 1
        logits_TV = model(input_ids=torch.tensor([[*sample.prompt_T, *sample.completion_T]])).logits[0, start:-1]
        logprobs_TV = (logits_TV / sample.temperature).log_softmax(-1)
        logprobs.append(logprobs_TV[torch.arange(len(logits_TV)), torch.tensor(sample.completion_T)])
        entropies.append(-(logprobs_TV.exp() * logprobs_TV).sum(-1))
    pad = torch.nn.utils.rnn.pad_sequence
    return pad(logprobs, batch_first=True), pad(entropies, batch_first=True)


def gradients(model: Any) -> dict[str, Tensor]:
    """Of all that can be trained."""
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def updated(scorer: Scorer, batch: MicroBatch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Log-probs, entropies and gradients, as an update has them."""
    with scorer.updating():
        scores = scorer(batch, "gradient")
        assert scores.mask_BT.sum(1).tolist() == [len(sample.completion_T) for sample in batch.samples]
        loss_of(scores.logprobs_BT, scores.entropy_BT).backward()
    return scores.logprobs_BT.detach(), scores.entropy_BT.detach(), gradients(scorer.model)


def exact(model: Any, batch: MicroBatch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """The same in float64, a sequence at a time, by transformers alone."""
    wide = copy.deepcopy(model).double()
    logprobs_BT, entropy_BT = by_hand(wide, batch)
    loss_of(logprobs_BT, entropy_BT).backward()
    return logprobs_BT.detach(), entropy_BT.detach(), gradients(wide)


def assert_equal(found: tuple[Tensor, Tensor, dict[str, Tensor]],
                 expected: tuple[Tensor, Tensor, dict[str, Tensor]], within: float = 1e-5) -> None:
    """Log-probs and entropies within `within`, each gradient within that share of its norm."""
    torch.testing.assert_close(found[0].double(), expected[0].double(), atol=within, rtol=within / 10)
    torch.testing.assert_close(found[1].double(), expected[1].double(), atol=within, rtol=within / 10)
    assert found[2].keys() == expected[2].keys()
    largest = max(float(gradient.norm()) for gradient in expected[2].values())
    for name, gradient in expected[2].items():
        if gradient.norm() > 1e-7 * largest:  # a bias of keys moves nothing: its gradient is rounding
            assert (found[2][name].double() - gradient).norm() <= within * gradient.norm(), name


@pytest.mark.parametrize(("way", "checkpointing"), [
    ("packed", False), ("packed", True), ("shared", False), ("unshared", False), ("unshared", True)])
@pytest.mark.parametrize("adapted", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("make", [llama, qwen2])
def test_every_way_gives_transformers_numbers(make: Callable[[], PreTrainedModel], adapted: bool, way: Way,
                                              checkpointing: bool, batch: MicroBatch) -> None:
    model = build(make, adapted)
    scorer = Scorer(model, network_of(model), checkpointing, way)
    assert_equal(updated(scorer, batch), exact(model, batch))


@pytest.mark.parametrize("adapted", [False, True], ids=["full", "lora"])
def test_the_gradient_is_the_slope_of_finite_differences(adapted: bool, batch: MicroBatch) -> None:
    model = build(llama, adapted)
    _, _, found = updated(Scorer(model, network_of(model), False), batch)
    wide = copy.deepcopy(model).double()
    generator = torch.Generator().manual_seed(2)
    directions = {name: torch.randn(g.shape, generator=generator, dtype=torch.float64) for name, g in found.items()}

    def loss_at(step: float) -> Tensor:
        moved = copy.deepcopy(wide)
        for name, direction in directions.items():
            moved.get_parameter(name).data += step * direction
        with torch.no_grad():
            return loss_of(*by_hand(moved, batch))

    step = 3e-4  # transformers' norms are float32 in a float64 network, so smaller steps drown in rounding
    slope = (8 * (loss_at(step) - loss_at(-step)) - (loss_at(2 * step) - loss_at(-2 * step))) / (12 * step)
    assert float(sum((found[name] * direction).sum() for name, direction in directions.items())) == pytest.approx(
        float(slope), rel=1e-3)


def test_a_plain_model_runs_packed_with_and_without_recomputing() -> None:
    assert choose(build(llama), False) == choose(build(qwen2), True) == "packed"


@pytest.mark.parametrize(("make", "checkpointing", "way", "message"), [
    (mistral, False, "unshared", "each sample's prompt is computed apart"),
    (mamba, False, "unshared", "each sample's prompt is computed apart"),
    (bloom, False, "shared", ""),
    (gemma2, False, "shared", ""),
    (gemma2, True, "unshared", "gradient checkpointing leaves no keys and values")])
def test_other_attention_falls_back_and_says_so(make: Callable[[], PreTrainedModel], checkpointing: bool, way: Way,
                                                message: str, batch: MicroBatch,
                                                caplog: pytest.LogCaptureFixture) -> None:
    model = build(make)
    scorer = Scorer(model, model, checkpointing)
    assert scorer.way == way
    assert message in caplog.text and bool(message) == bool(caplog.text)
    assert_equal(updated(scorer, batch), exact(model, batch))


@pytest.mark.parametrize(("make", "message"), [
    (xlnet, "xlnet: cannot be trained exactly: what stands after a token, or in other rows, changes what it says "),
    (reformer, "reformer: cannot be trained exactly: no gradient reaches its weights; take another model")])
def test_what_no_pass_is_right_for_is_refused_by_name(make: Callable[[], PreTrainedModel], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose(network_of(build(make, adapted=True)), False)


@pytest.mark.parametrize("way", ["packed", "unshared"])
def test_recomputing_runs_layers_twice_and_leaves_nothing_behind(way: Way, batch: MicroBatch) -> None:
    model = build(llama)
    attention = model.get_submodule("model.layers.0.self_attn")
    passes: list[bool] = []
    attention.register_forward_hook(lambda *_: passes.append(attention.training))
    updated(Scorer(model, model, True, way), batch)
    assert passes == [False, False], "dropout inside the layers must stay off"
    assert not any(module.training for module in model.modules())
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
def test_an_adapters_dropout_is_on_in_updates_and_the_same_for_the_same_seed(checkpointing: bool) -> None:
    batch = BATCHES["ragged"]
    plain = updated(Scorer(build(llama, adapted=True), network_of(build(llama)), False, "packed"), batch)
    model = build(llama, adapted=True, dropout=0.5)
    scorer = Scorer(model, network_of(model), checkpointing)
    torch.manual_seed(7)
    once = updated(scorer, batch)
    torch.manual_seed(7)
    kept = updated(Scorer(model, network_of(model), False), batch)
    assert (once[0] - plain[0]).abs().max() > 0.1
    assert_equal(once, kept)  # layers that are recomputed drop the same
    with scorer.running(), torch.no_grad():
        torch.testing.assert_close(scorer(batch).logprobs_BT, plain[0])


def test_a_reference_runs_the_same_way() -> None:
    model = build(llama, adapted=True)
    scorer = Scorer(model, network_of(model), False)
    with model.disable_adapter(), scorer.running(), torch.no_grad():
        found = scorer.on(model)(BATCHES["ragged"], "none")
    expected_BT, _ = by_hand(build(llama), BATCHES["ragged"])
    assert found.entropy_BT is None
    torch.testing.assert_close(found.logprobs_BT, expected_BT, atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_packed_update_needs_no_numbers(checkpointing: bool, frozen: bool, batch: MicroBatch) -> None:
    """Shapes follow from lengths alone: the pass runs on tensors without numbers, so on a GPU it waits for none."""
    with FakeTensorMode():
        model = build(llama)
        model.get_input_embeddings().requires_grad_(not frozen)
        scorer = Scorer(model, model, checkpointing, "packed")
        with scorer.updating():
            scores = scorer(batch, "gradient")
            (scores.logprobs_BT.sum() + scores.entropy_BT.sum()).backward()
    assert tuple(scores.logprobs_BT.shape) == (len(batch.samples), max(len(s.completion_T) for s in batch.samples))
    assert {p.grad is not None for p in model.parameters()} == ({True, False} if frozen else {True})


def test_samples_need_not_fill_their_rows_to_be_scored_alone() -> None:
    """A sample's numbers do not depend on what shares its micro-batch."""
    model = build(qwen2)
    scorer = Scorer(model, model, False)
    together = BATCHES["ragged"]
    with scorer.running(), torch.no_grad():
        scores = scorer(together)
        for row, sample in enumerate(together.samples):
            alone = scorer(MicroBatch([[dataclasses.replace(sample)]]))
            length = len(sample.completion_T)
            torch.testing.assert_close(alone.logprobs_BT[0], scores.logprobs_BT[row, :length], atol=1e-5, rtol=1e-6)
