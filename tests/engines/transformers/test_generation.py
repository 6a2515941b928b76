"""The contract, on architectures that the engine samples by transformers' own `generate`."""

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import transformers
from tests.engines.contract import PROMPTS, FaithfulContract, assert_same_but_for_rounding, rollouts_of
from tests.models.tiny import byte_tokenizer, load_tiny, write_network, write_policies
from transformers import PreTrainedConfig

from sparkcli.config import ModelConfig, RolloutConfig
from sparkcli.engines.transformers.cache import Room
from sparkcli.engines.transformers.engine import TransformersEngine
from sparkcli.engines.transformers.generation import generate
from sparkcli.engines.transformers.rows import Group, Row, Rules
from sparkcli.errors import UsageError
from sparkcli.models.sight import text
from sparkcli.records import Rollout

SIZES: dict[str, Any] = {
    "vocab_size": 259, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512, "eos_token_id": 258, "pad_token_id": 256,
    "bos_token_id": 256}
FULL_AND_SLIDING: dict[str, Any] = {"sliding_window": 24, "layer_types": ["sliding_attention", "full_attention"]}
LINEAR: dict[str, Any] = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"]}
EXPERTS: dict[str, Any] = {"num_experts_per_tok": 2, "num_local_experts": 4, "num_experts": 4}
STATES: dict[str, Any] = {"state_size": 8, "num_heads": 8, "head_dim": 8, "n_groups": 2, "chunk_size": 16}

CONFIGURATIONS: dict[str, PreTrainedConfig] = {
    "a short window in all layers": transformers.MistralConfig(**SIZES, sliding_window=24),
    "a window in some layers": transformers.Gemma3TextConfig(**SIZES, **FULL_AND_SLIDING, query_pre_attn_scalar=8),
    "capped scores": transformers.Gemma2Config(**SIZES, **FULL_AND_SLIDING, attn_logit_softcapping=5.0),
    "sinks": transformers.GptOssConfig(**{**SIZES, **FULL_AND_SLIDING, **EXPERTS}),
    "an attention of its own": transformers.FalconConfig(
        vocab_size=259, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, alibi=True, eos_token_id=258,
        bos_token_id=256, new_decoder_architecture=False, max_position_embeddings=512),
    "states": transformers.Mamba2Config(**{**SIZES, **STATES}),
    "states beside attention": transformers.Qwen3NextConfig(**{**SIZES, **LINEAR, **EXPERTS}),
}


class GenerationContract(FaithfulContract):
    configuration: ClassVar[str]
    eos_bias: ClassVar[float] = 0.5

    @pytest.fixture(scope="class")
    @classmethod
    def model_folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return write_network(tmp_path_factory.mktemp("model"), CONFIGURATIONS[cls.configuration], byte_tokenizer(),
                             eos_bias=cls.eos_bias)

    @pytest.fixture(scope="class")
    @classmethod
    def policies(cls, model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
        return write_policies(model_folder, tmp_path_factory.mktemp("policies"))

    @pytest.fixture
    def model(self, model_folder: Path) -> ModelConfig:
        return ModelConfig(name=str(model_folder), engine="transformers", device="cpu")

    def assert_same(self, a: list[list[Rollout]], b: list[list[Rollout]]) -> None:
        """Where weights lie in memory decides how some kernels round."""
        assert_same_but_for_rounding(a, b)


class TestWindow(GenerationContract):
    configuration = "a short window in all layers"


@pytest.mark.slow
class TestStates(GenerationContract):
    configuration = "states"


@pytest.mark.slow
class TestOwnAttention(GenerationContract):
    configuration = "an attention of its own"


def sampled(folder: Path, config: RolloutConfig) -> list[list[Rollout]]:
    return list(TransformersEngine(load_tiny(folder)).sample(PROMPTS, config))


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_greedy_is_what_generate_says_and_log_probs_are_the_forwards(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_network(tmp_path / "model", CONFIGURATIONS[name], byte_tokenizer(), eos_bias=0.5)
    network: Any = load_tiny(folder).network
    for rollout in rollouts_of(sampled(folder, RolloutConfig(samples=1, max_tokens=30, temperature=0.0))):
        prompt_1S = torch.tensor([rollout.prompt_token_ids])
        said = network.generate(prompt_1S, attention_mask=torch.ones_like(prompt_1S), max_new_tokens=30,
                                do_sample=False)
        assert said[0, prompt_1S.shape[1]:].tolist() == list(rollout.token_ids or ())
    for rollout in rollouts_of(sampled(folder, RolloutConfig(samples=3, max_tokens=30, temperature=0.7))):
        found_T, ids_T = torch.tensor(rollout.logprobs), torch.tensor(rollout.token_ids)
        with torch.no_grad():
            whole_1T = torch.tensor([[*(rollout.prompt_token_ids or ()), *ids_T.tolist()]])
            logits_TV = network(input_ids=whole_1T, use_cache=False).logits[0, -len(ids_T) - 1:-1]
        expected_T = (logits_TV / 0.7).log_softmax(1).gather(1, ids_T[:, None])[:, 0]
        torch.testing.assert_close(found_T, expected_T, rtol=0, atol=3e-4)  # states sum up in chunks, or step by step
    assert any("transformers' own `generate` samples it, which is slower" in message for message in caplog.messages)


def test_what_fits_the_window_shares_its_prompt(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    configuration = transformers.MistralConfig(**SIZES, sliding_window=200)
    folder = write_network(tmp_path / "model", configuration, byte_tokenizer())
    sampled(folder, RolloutConfig(samples=2, max_tokens=30))
    assert caplog.messages == []
    sampled(folder, RolloutConfig(samples=2, max_tokens=190))
    assert "more than 200 tokens do not fit its attention's window" in caplog.messages[0]


@pytest.mark.parametrize(("pads", "batches"), [(True, [5, 2]), (False, [3, 2, 2])])
def test_prompts_of_other_lengths_share_a_batch_where_padding_is_forgiven(pads: bool, batches: list[int]) -> None:
    network = transformers.AutoModelForCausalLM.from_config(CONFIGURATIONS["a window in some layers"]).eval()
    groups = [Group(text([7] * length), [Row(row, 2) for row in range(rows)])
              for length, rows in ((9, 3), (5, 2), (2, 2))]
    rows: list[int] = []
    forward = network.forward
    network.forward = lambda **given: rows.append(len(given["input_ids"])) or forward(**given)
    generate(network, groups, Rules(1.0, 0, 1.0, frozenset()), Room(5, 9, 5, 2, 100), pads=pads)
    assert rows[::2] == batches
    assert all(len(row.token_ids) == 2 for group in groups for row in group.rows)


def test_settings_that_the_model_brings_change_no_distribution(tmp_path: Path) -> None:
    folder = write_network(tmp_path / "model", CONFIGURATIONS["states"], byte_tokenizer())
    plain = sampled(folder, RolloutConfig(samples=2, max_tokens=8))
    settings = transformers.GenerationConfig.from_pretrained(folder)
    settings.update(repetition_penalty=3.0, min_new_tokens=7, suppress_tokens=list(range(100)), do_sample=True)
    settings.save_pretrained(folder)
    assert sampled(folder, RolloutConfig(samples=2, max_tokens=8)) == plain


def test_a_network_whose_steps_are_not_its_forward_pass_is_refused_by_name(tmp_path: Path) -> None:
    """Without `is_decoder` BERT attends to what comes after, which cached steps cannot."""
    configuration = transformers.BertConfig(**{**SIZES, "hidden_size": 64}, is_decoder=False)
    folder = write_network(tmp_path / "model", configuration, byte_tokenizer())
    with pytest.raises(UsageError, match=r"bert: cannot be sampled exactly.*log-probs differ from its forward pass"):
        TransformersEngine(load_tiny(folder))
