"""An adapter that others trained and saved with PEFT: sampled, trained on, exported, under -m or --policy alike."""

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tests.models.tiny import load_tiny, write_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from sparkcli.config import ModelConfig, RolloutConfig, TrainConfig
from sparkcli.engines.transformers.engine import TransformersEngine
from sparkcli.errors import UsageError
from sparkcli.models import locate
from sparkcli.models.fingerprint import check_policy, policy_fingerprint
from sparkcli.models.locate import on_base
from sparkcli.models.policy import export, load, reference, save, trainable
from sparkcli.records import Prompt

PROMPT = torch.tensor([[1, 2, 3, 4]])


def write_adapter(base: Path, folder: Path, **settings: object) -> Path:
    """What supervised fine-tuning with PEFT leaves: every weight of the adapter moved."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base),
                               LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"],
                                             "task_type": "CAUSAL_LM", **settings}))
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adapter(model_folder, tmp_path_factory.mktemp("peft") / "sft")


def by_peft(base: Path, adapter: Path) -> torch.Tensor:
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
    with torch.no_grad():
        return model(input_ids=PROMPT).logits


def test_it_is_the_same_as_the_model_or_as_the_policy_and_what_peft_computes(
    model_folder: Path, adapter: Path
) -> None:
    as_model = load(on_base(ModelConfig(name=str(adapter), device="cpu")))
    as_policy = load_tiny(model_folder, policy=adapter)
    assert (as_model.name, as_model.fingerprint) == (str(model_folder), as_policy.fingerprint)
    with torch.no_grad():
        for policy in (as_model, as_policy):
            torch.testing.assert_close(policy.model(input_ids=PROMPT).logits, by_peft(model_folder, adapter))


def test_the_reference_is_the_model_under_it(model_folder: Path, adapter: Path) -> None:
    policy = load_tiny(model_folder, policy=adapter)
    with torch.no_grad(), reference(policy) as model:
        bare = AutoModelForCausalLM.from_pretrained(model_folder)(input_ids=PROMPT).logits
        torch.testing.assert_close(model(input_ids=PROMPT).logits, bare)


def test_it_is_trained_on_and_becomes_a_policy_like_others(
    model_folder: Path, adapter: Path, tmp_path: Path
) -> None:
    policy = load_tiny(model_folder, policy=adapter)
    parent = policy.fingerprint
    for parameter in trainable(policy, TrainConfig()).values():
        torch.nn.init.ones_(parameter)
    policy.changed = True
    save(policy, tmp_path / "1", {"updates": 1}, None)
    again = load_tiny(model_folder, policy=tmp_path / "1")
    assert json.loads((tmp_path / "1" / "trainer_state.json").read_bytes())["parent"] == parent != again.fingerprint
    with torch.no_grad():
        torch.testing.assert_close(again.model(input_ids=PROMPT).logits, policy.model(input_ids=PROMPT).logits)


def test_rollouts_say_which_adapter_and_which_base(model_folder: Path, adapter: Path, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other", seed=9)
    found = [next(TransformersEngine(load_tiny(base, policy=adapter)).sample(
        [Prompt(id="p", prompt="Hi")], RolloutConfig(samples=1, max_tokens=4)))[0].policy
        for base in (model_folder, other)]
    assert found[0] == policy_fingerprint(adapter, load_tiny(model_folder).base_fingerprint) != found[1]


def test_export_merges_it_onto_the_base_that_it_names_or_one_that_is_given(
    model_folder: Path, adapter: Path, tmp_path: Path
) -> None:
    moved = write_model(tmp_path / "moved")
    for out, model in (("named", None), ("given", str(moved))):
        export(adapter, tmp_path / out, model=model)
        with torch.no_grad():
            found = AutoModelForCausalLM.from_pretrained(tmp_path / out)(input_ids=PROMPT).logits
        torch.testing.assert_close(found, by_peft(model_folder, adapter), rtol=1e-4, atol=1e-4)


def test_export_finds_a_policy_its_base_that_has_moved(model_folder: Path, tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    policy = load_tiny(base)
    trainable(policy, TrainConfig())
    save(policy, tmp_path / "policy", {}, None)
    base.rename(tmp_path / "moved")
    with pytest.raises(UsageError, match=r"no such folder; if the policy's model has moved, name it with -m$"):
        export(tmp_path / "policy", tmp_path / "out")
    export(tmp_path / "policy", tmp_path / "out", model=str(tmp_path / "moved"))
    assert (tmp_path / "out" / "model.safetensors").exists()
    other = write_model(tmp_path / "other", seed=9)
    with pytest.raises(UsageError, match=r"was trained on model .* and the model given is another"):
        export(tmp_path / "policy", tmp_path / "out", model=str(other))


def test_its_own_chat_template_is_named_and_goes_along_with_the_export(
    model_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_adapter(model_folder, tmp_path / "sft")
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    tokenizer.save_pretrained(folder)
    on_base(ModelConfig(name=str(folder)))
    assert caplog.messages == []
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    tokenizer.save_pretrained(folder)
    on_base(ModelConfig(name=str(folder)))
    [message] = caplog.messages
    assert "has a chat template of its own (28 characters), and the base's is used; to use this one, run" in message
    export(folder, tmp_path / "out")
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == "{{ messages[0]['content'] }}"
    assert not list((tmp_path / "out").glob("adapter*"))


@pytest.mark.parametrize(("settings", "message"), [
    ({"modules_to_save": ["lm_head"]}, r"adapter_config\.json: modules_to_save: \['lm_head'\] is more than LoRA"),
    ({"use_dora": True}, "use_dora: True is more than LoRA on layers; merge it into its model with PEFT"),
    ({"bias": "lora_only"}, "bias: 'lora_only' is more than LoRA"),
])
def test_what_is_more_than_lora_is_refused_with_the_remedy(
    model_folder: Path, tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        check_policy(write_adapter(model_folder, tmp_path / "sft", **settings))


def test_pickled_weights_another_kind_and_no_base_are_named(adapter: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sft"
    folder.mkdir()
    config = json.loads((adapter / "adapter_config.json").read_bytes())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": None}))
    (folder / "adapter_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(UsageError, match=r"adapter_model.bin is pickled, and only safetensors are read; save it again"):
        check_policy(folder)
    (folder / "adapter_model.safetensors").write_bytes((adapter / "adapter_model.safetensors").read_bytes())
    check_policy(folder)
    with pytest.raises(UsageError, match="base_model_name_or_path: names no model; give it with -m, and this folder"):
        on_base(ModelConfig(name=str(folder)))
    (folder / "adapter_config.json").write_text(json.dumps({**config, "peft_type": "IA3"}))
    with pytest.raises(UsageError, match="peft_type: expected LORA, found 'IA3'; merge it into its model with PEFT"):
        check_policy(folder)


def test_one_of_another_model_is_refused_by_shape(adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is it the adapter of another model"):
        load_tiny(write_model(tmp_path / "wide", head_dim=16), policy=adapter)


def test_a_policy_of_ours_is_no_model(model_folder: Path, tmp_path: Path) -> None:
    policy = load_tiny(model_folder)
    trainable(policy, TrainConfig())
    save(policy, tmp_path / "policy", {}, None)
    assert on_base(ModelConfig(name=str(tmp_path / "policy"))).policy is None
    with pytest.raises(UsageError, match="this is a policy: give it as --policy"):
        locate.model_folder(str(tmp_path / "policy"))
