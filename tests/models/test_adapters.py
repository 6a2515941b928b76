"""Adapters have the shape that was asked for, keep it, and lie on weights of any precision."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from tests.models.tiny import load_tiny, stir, write_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from sparkcli.config import ModelConfig, RolloutConfig, TrainConfig
from sparkcli.engines.transformers.engine import TransformersEngine
from sparkcli.errors import UsageError
from sparkcli.models import adapters, network
from sparkcli.models.policy import Policy, add_adapter, export, load, load_into, reference, save, trainable
from sparkcli.records import Prompt

PROMPT = torch.tensor([[1, 2, 3, 4]])
LAYERS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def logits(policy: Policy) -> torch.Tensor:
    with torch.no_grad():
        return policy.model(input_ids=PROMPT).logits


def adapted(policy: Policy) -> set[str]:
    """Endings of the names of layers with an adapter."""
    return {name.split(".lora_A.")[0].rsplit(".", 1)[-1] for name in trainable(policy, TrainConfig())
            if ".lora_A." in name}


@pytest.mark.parametrize(("targets", "expected"), [
    (("all-linear",), LAYERS),
    (("q_proj", "v_proj"), {"q_proj", "v_proj"}),
    (("q_proj, v_proj",), {"q_proj", "v_proj"}),
    (("mlp.down_proj",), {"down_proj"}),
    (("lm_head", "q_proj"), {"lm_head", "q_proj"}),
])
def test_layers_are_chosen_by_the_ends_of_their_names(
    model_folder: Path, targets: tuple[str, ...], expected: set[str]
) -> None:
    policy = load_tiny(model_folder)
    add_adapter(policy, TrainConfig(lora_targets=targets))
    assert adapted(policy) == expected


@pytest.mark.parametrize(("targets", "message"), [
    (("q_prj",), r"^train: lora_targets: no layer is named 'q_prj'; did you mean 'q_proj'\?$"),
    (("query",), r"no layer is named 'query'; known: down_proj, gate_proj, k_proj, lm_head, o_proj"),
    (("q_proj", "norm"), r"'norm' fits 'model.norm', which is no linear layer; name linear layers, e.g. q_proj"),
    (("proj",), r"no layer is named 'proj'"),
])
def test_a_target_that_fits_no_linear_layer_is_a_usage_error(
    model_folder: Path, targets: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        add_adapter(load_tiny(model_folder), TrainConfig(lora_targets=targets))


def test_a_head_that_is_the_embeddings_gets_no_adapter(tmp_path: Path) -> None:
    policy = load_tiny(write_llama(tmp_path / "tied", tie_word_embeddings=True))
    with pytest.raises(UsageError, match="'lm_head' is the head, which shares its weights with the embeddings"):
        add_adapter(policy, TrainConfig(lora_targets=("lm_head",)))


@pytest.mark.parametrize(("rslora", "scale"), [(False, 8 / 4), (True, 8 / 2)])
def test_the_scale_is_alpha_over_rank_or_over_its_root(model_folder: Path, rslora: bool, scale: float) -> None:
    policy = load_tiny(model_folder)
    add_adapter(policy, TrainConfig(lora_rank=4, lora_alpha=8, lora_rslora=rslora, lora_targets=("o_proj",)))
    stir(policy)
    layer = policy.network.model.layers[0].self_attn.o_proj
    x = torch.randn(3, layer.in_features)
    low_rank = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    torch.testing.assert_close(layer(x), x @ (layer.base_layer.weight + scale * low_rank).T)


def test_dropout_acts_in_training_mode_alone(model_folder: Path) -> None:
    policy = load_tiny(model_folder)
    add_adapter(policy, TrainConfig(lora_rank=4, lora_dropout=0.5))
    stir(policy)
    still = logits(policy)
    assert torch.equal(logits(policy), still)
    policy.model.train()
    assert not torch.equal(logits(policy), still)


@pytest.mark.parametrize("shape", [
    {}, {"lora_rank": 3}, {"lora_alpha": 7}, {"lora_rslora": True}, {"lora_dropout": 0.25},
    {"lora_targets": ("k_proj", "q_proj")}])
def test_a_saved_shape_is_what_comes_back(model_folder: Path, tmp_path: Path, shape: dict[str, object]) -> None:
    config = TrainConfig(**shape)  # type: ignore[arg-type]
    policy = load_tiny(model_folder)
    add_adapter(policy, config)
    stir(policy)
    save(policy, tmp_path / "1", {}, None)
    again = load_tiny(model_folder, policy=tmp_path / "1")
    torch.testing.assert_close(logits(again), logits(policy), rtol=0, atol=0)
    add_adapter(again, TrainConfig())  # settings left at their defaults ask for nothing
    add_adapter(again, config)
    torch.testing.assert_close(logits(again), logits(policy), rtol=0, atol=0)


@pytest.mark.parametrize(("asked", "message"), [
    ({"lora_rank": 8}, r"policy .*1: has an adapter with lora_rank 4, and 8 is asked for; leave the setting out"),
    ({"lora_alpha": 64}, "lora_alpha 32, and 64"),
    ({"lora_rslora": True}, "lora_rslora False, and True"),
    ({"lora_dropout": 0.1}, "lora_dropout 0.0, and 0.1"),
    ({"lora_targets": ("q_proj",)}, "has an adapter on other layers than lora_targets q_proj; leave the setting out"),
    ({"lora_targets": ("q_prj",)}, "did you mean 'q_proj'"),
])
def test_a_policy_keeps_its_adapters_shape(
    model_folder: Path, tmp_path: Path, asked: dict[str, object], message: str
) -> None:
    policy = load_tiny(model_folder)
    add_adapter(policy, TrainConfig(lora_rank=4, lora_targets=("q_proj", "v_proj")))
    save(policy, tmp_path / "1", {}, None)
    with pytest.raises(UsageError, match=message):
        trainable(policy, TrainConfig(**asked))  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_an_adapter_is_float32_on_weights_of_16_bits(model_folder: Path, tmp_path: Path, dtype: str) -> None:
    config = ModelConfig(name=str(model_folder), device="cpu", dtype=dtype)  # type: ignore[arg-type]
    policy = load(config)
    assert {p.dtype for p in trainable(policy, TrainConfig()).values()} == {torch.float32}
    assert policy.network.dtype == getattr(torch, dtype)
    stir(policy)
    save(policy, tmp_path / "1", {}, None)
    again = load_tiny(model_folder, policy=tmp_path / "1")
    pairs = zip(trainable(policy, TrainConfig()).values(), trainable(again, TrainConfig()).values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("method", ["lora", "full", "tied"])
def test_weights_handed_in_are_written_as_the_networks_own(model_folder: Path, tmp_path: Path, method: str) -> None:
    policy = load_tiny(write_llama(tmp_path / "tied", tie_word_embeddings=True) if method == "tied" else model_folder)
    if method == "lora":
        add_adapter(policy, TrainConfig())
    stir(policy)
    names = policy.model.state_dict() if method != "lora" else trainable(policy, TrainConfig())
    weights = {name: tensor.detach().clone() for name, tensor in names.items()}
    save(policy, tmp_path / "own", {}, None)
    policy.fingerprint = policy.base_fingerprint
    stir(policy, seed=1)
    save(policy, tmp_path / "given", {}, None, weights)
    for path in (tmp_path / "own").iterdir():
        assert path.read_bytes() == (tmp_path / "given" / path.name).read_bytes(), path.name


needs_bitsandbytes = pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None,
                                        reason="bitsandbytes is not installed: pip install 'sparkcli[qlora]'")


@pytest.fixture(scope="session")
def wide_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose layers are multiples of 64 wide, the blocks of NF4."""
    return write_llama(tmp_path_factory.mktemp("wide"), hidden_size=64, intermediate_size=128, head_dim=16)


def in_4_bit(folder: Path, policy: Path | None = None) -> Policy:
    return load(ModelConfig(name=str(folder), policy=str(policy) if policy else None, device="cpu",
                            load_in_4bit=True))


def test_without_bitsandbytes_nothing_is_loaded_in_4_bit(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"^load_in_4bit needs bitsandbytes, .* pip install 'sparkcli\[qlora\]'$"):
        in_4_bit(model_folder)


@needs_bitsandbytes
def test_weights_in_4_bit_are_nf4_and_the_head_is_not(wide_folder: Path) -> None:
    import bitsandbytes

    layer = in_4_bit(wide_folder).network.model.layers[1].mlp.up_proj
    exact = AutoModelForCausalLM.from_pretrained(wide_folder).model.layers[1].mlp.up_proj.weight.detach()
    found = bitsandbytes.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    assert layer.weight.quant_state.quant_type == "nf4" and layer.weight.quant_state.nested
    assert 0.05 < float((found - exact).norm() / exact.norm()) < 0.12
    assert in_4_bit(wide_folder).network.lm_head.weight.dtype == torch.float32


@needs_bitsandbytes
def test_weights_in_4_bit_carry_an_adapter_but_are_not_trained(wide_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="quantised weights cannot be trained with --method full; train an adapter"):
        trainable(in_4_bit(wide_folder), TrainConfig(method="full"))
    policy = in_4_bit(wide_folder)
    bare = logits(policy)
    assert {p.dtype for p in trainable(policy, TrainConfig()).values()} == {torch.float32}
    stir(policy)
    moved = logits(policy)
    with reference(policy) as model, torch.no_grad():
        assert torch.equal(model(input_ids=PROMPT).logits, bare)
    save(policy, tmp_path / "1", {}, None)
    assert torch.equal(logits(in_4_bit(wide_folder, tmp_path / "1")), moved)
    load_into(policy, None)
    assert torch.equal(logits(policy), bare)
    load_into(policy, tmp_path / "1")
    assert torch.equal(logits(policy), moved)


@needs_bitsandbytes
def test_policies_are_swapped_in_4_bit_too(wide_folder: Path, tmp_path: Path) -> None:
    full, small = load_tiny(wide_folder), in_4_bit(wide_folder)
    stir(full)
    save(full, tmp_path / "full", {}, None)
    add_adapter(small, TrainConfig(lora_rank=4))
    stir(small)
    save(small, tmp_path / "adapter", {}, None)
    places = (tmp_path / "adapter", None, tmp_path / "full")
    expected = {place: logits(in_4_bit(wide_folder, place)) for place in places}
    for place in (*places, *reversed(places)):
        load_into(small, place)
        assert torch.equal(logits(small), expected[place])


@needs_bitsandbytes
def test_an_adapter_made_in_4_bit_is_exported_with_the_exact_weights(wide_folder: Path, tmp_path: Path) -> None:
    policy = in_4_bit(wide_folder)
    add_adapter(policy, TrainConfig(lora_rank=4))
    stir(policy)
    save(policy, tmp_path / "1", {}, None)
    export(tmp_path / "1", tmp_path / "plain")
    with torch.no_grad():
        found = AutoModelForCausalLM.from_pretrained(tmp_path / "plain")(input_ids=PROMPT).logits
    torch.testing.assert_close(found, logits(load_tiny(wide_folder, policy=tmp_path / "1")), rtol=0, atol=2e-5)
    assert "quantization_config" not in json.loads((tmp_path / "plain" / "config.json").read_bytes())


@needs_bitsandbytes
def test_what_4_bit_weights_sample_is_what_a_forward_pass_says(wide_folder: Path) -> None:
    policy = in_4_bit(wide_folder)
    add_adapter(policy, TrainConfig(lora_rank=4))
    stir(policy)
    drawing = RolloutConfig(samples=3, max_tokens=9)
    [group] = TransformersEngine(policy).sample([Prompt(id="p", prompt="1 + 1?")], drawing)
    for rollout in group:
        ids = torch.tensor([[*rollout.prompt_token_ids, *rollout.token_ids]])
        with torch.no_grad():
            logprobs_1TV = policy.model(input_ids=ids).logits.log_softmax(-1)
        start = len(rollout.prompt_token_ids) - 1
        exact = [float(logprobs_1TV[0, start + i, token]) for i, token in enumerate(rollout.token_ids)]
        assert list(rollout.logprobs) == pytest.approx(exact, abs=1e-3)


@needs_bitsandbytes
def test_a_layer_that_bitsandbytes_gets_wrong_on_a_cpu_is_refused(model_folder: Path) -> None:
    with pytest.raises(UsageError, match=r"q_proj: 32 inputs, .* only where they are a multiple of 64"):
        in_4_bit(model_folder)


def test_an_adapter_fits_another_of_its_shape_alone(model_folder: Path, tmp_path: Path) -> None:
    policy = load_tiny(model_folder)
    add_adapter(policy, TrainConfig(lora_rank=4))
    save(policy, tmp_path / "1", {}, None)
    assert adapters.fits(policy.model, tmp_path / "1")
    other = load_tiny(model_folder)
    add_adapter(other, TrainConfig(lora_rank=4, lora_rslora=True))
    assert not adapters.fits(other.model, tmp_path / "1")


def write_llama(folder: Path, **settings: object) -> Path:
    """The room's model with other settings."""
    write_model(folder)
    config = LlamaConfig.from_pretrained(folder, **settings)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder
