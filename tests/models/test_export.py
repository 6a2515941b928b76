"""An exported policy is a plain Hugging Face folder that says the same."""

from pathlib import Path

import pytest
import torch
from tests.models.tiny import load_tiny, stir
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from sparkcli.config import TrainConfig
from sparkcli.errors import UsageError
from sparkcli.models.policy import add_adapter, export, save

PROMPT = torch.tensor([[1, 2, 3, 4]])


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("dtype", ["auto", "bfloat16"])
def test_it_loads_with_transformers_alone(model_folder: Path, tmp_path: Path, method: str, dtype: str) -> None:
    policy = load_tiny(model_folder)
    if method == "lora":
        add_adapter(policy, TrainConfig(lora_rank=4, lora_alpha=8))
    stir(policy)
    save(policy, tmp_path / "policy", {}, None)
    export(tmp_path / "policy", tmp_path / "plain", dtype)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "plain", dtype="auto")
    assert plain.dtype == {"auto": torch.float32, "bfloat16": torch.bfloat16}[dtype]
    with torch.no_grad():
        expected, found = policy.model(input_ids=PROMPT).logits, plain(input_ids=PROMPT).logits.float()
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 if dtype == "auto" else 0.5)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "plain")
    assert tokenizer.chat_template == policy.reader.tokenizer.chat_template
    assert GenerationConfig.from_pretrained(tmp_path / "plain").eos_token_id == policy.reader.tokenizer.eos_token_id
    assert not list((tmp_path / "plain").glob("*adapter*")) + list((tmp_path / "plain").glob("trainer*"))


def test_what_is_no_policy_is_a_usage_error(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"trainer_state\.json is missing"):
        export(model_folder, tmp_path / "plain")
