"""An adapter lies where it does something: not on what the network reads past the layer, nor on experts and routers."""

import logging
from typing import Any

import pytest
import torch
from peft.tuners.lora import LoraLayer
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from sparkcli.config import TrainConfig
from sparkcli.errors import UsageError
from sparkcli.models.adapters import attach_new

SMALL = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
         "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 48, "pad_token_id": 0}
MAMBA_2 = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 8}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}

FAMILIES: dict[str, dict[str, Any]] = {
    "mamba": {**SMALL, "state_size": 8},
    "falcon_mamba": {**SMALL, "state_size": 8},
    "mamba2": {**SMALL, "num_heads": 4, "head_dim": 16, "state_size": 8, "n_groups": 1, "chunk_size": 8},
    "falcon_h1": {**SMALL, **MAMBA_2, "mamba_d_ssm": 64},
    "bamba": {**SMALL, **MAMBA_2, "attn_layer_indices": [1]},
    "qwen2_moe": {**SMALL, **EXPERTS, "shared_expert_intermediate_size": 24},
    "qwen3_moe": {**SMALL, **EXPERTS},
    "mixtral": {**SMALL, "num_local_experts": 4},
    "gpt_oss": {**SMALL, "num_local_experts": 4, "layer_types": ["full_attention", "full_attention"]},
    "phimoe": {**SMALL, "num_local_experts": 4},
    "deepseek_v4": {**SMALL, "num_key_value_heads": 1, "q_lora_rank": 16, "o_lora_rank": 16, "o_groups": 2,
                    "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "qk_rope_head_dim": 8,
                    "index_n_heads": 2, "index_head_dim": 8},
    "falcon": {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
    "zamba": {**SMALL, "num_hidden_layers": 4, "num_key_value_heads": 2, "attention_hidden_size": 64,
              "layers_block_type": ["linear_attention", "hybrid"] * 2},
}


def tiny(family: str) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **FAMILIES[family])).eval()


def adapted(model: torch.nn.Module) -> set[str]:
    """Ends of the names of layers with an adapter."""
    return {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if isinstance(module, LoraLayer)}


@pytest.mark.parametrize(("family", "expected"), [
    ("mamba", {"in_proj"}),
    ("falcon_mamba", {"in_proj"}),
    ("mamba2", {"in_proj"}),
    ("falcon_h1", {"q_proj", "k_proj", "v_proj", "o_proj", "in_proj", "gate_proj", "up_proj", "down_proj"}),
    ("bamba", {"q_proj", "k_proj", "v_proj", "o_proj", "in_proj", "gate_proj", "up_proj", "down_proj"}),
    ("qwen2_moe", {"q_proj", "k_proj", "v_proj", "o_proj"}),
    ("qwen3_moe", {"q_proj", "k_proj", "v_proj", "o_proj"}),
    ("mixtral", {"q_proj", "k_proj", "v_proj", "o_proj"}),
    ("gpt_oss", {"q_proj", "k_proj", "v_proj", "o_proj"}),
    ("phimoe", {"q_proj", "k_proj", "v_proj", "o_proj"}),
    ("zamba", {"in_proj", "out_proj", "linear"}),
    ("falcon", {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"}),
])
def test_the_default_leaves_out_what_an_adapter_cannot_change_and_what_routes(family: str, expected: set[str]) -> None:
    assert adapted(attach_new(tiny(family), TrainConfig(lora_rank=2))) == expected


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - {"deepseek_v4"}))  # compresses longer sequences only
def test_every_adapter_gets_a_gradient(family: str) -> None:
    model = attach_new(tiny(family), TrainConfig(lora_rank=2))
    model(input_ids=torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8]])).logits.square().sum().backward()
    without = [name for name, parameter in model.named_parameters()
               if ".lora_B." in name and (parameter.grad is None or not parameter.grad.any())]
    assert without == []


def test_the_share_of_experts_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="sparkcli"):
        attach_new(tiny("qwen3_moe"), TrainConfig(lora_rank=2))
    [message] = caplog.messages
    assert message.startswith("qwen3_moe: a mixture of experts; they are ")
    assert message.endswith("get no adapter; --method full trains them")


def test_a_model_without_experts_is_told_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="sparkcli"):
        attach_new(tiny("falcon_h1"), TrainConfig(lora_rank=2))
    assert caplog.messages == []


@pytest.mark.parametrize(("family", "target", "message"), [
    ("mamba2", "out_proj", "'out_proj' fits 'backbone.layers.0.mixer.out_proj', whose weight the model reads past the "
                           "layer"),
    ("mamba", "dt_proj", "'dt_proj' fits 'backbone.layers.0.mixer.dt_proj', whose weight the model reads past"),
    ("qwen3_moe", "down_proj", "'down_proj' fits 'model.layers.0.mlp.experts.down_proj', which is no linear layer"),
    ("deepseek_v4", "o_a_proj", "'o_a_proj' fits 'model.layers.0.self_attn.o_a_proj', which computes something "),
    ("zamba", "q_proj", "'q_proj' fits 'model.layers.1.shared_transf.self_attn.q_proj', whose weight other layers "),
    ("mixtral", "gate", "'gate' fits 'model.layers.0.mlp.gate', which is no linear layer"),
])
def test_what_cannot_have_one_is_refused_by_name(family: str, target: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        attach_new(tiny(family), TrainConfig(lora_targets=(target,)))
