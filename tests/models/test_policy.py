"""Policies are loaded, swapped in place, and written whole or not at all."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from tests.models.tiny import load_tiny, stir, write_model
from transformers import AutoModelForCausalLM

from sparkcli.config import ModelConfig, TrainConfig
from sparkcli.errors import SparkError, UsageError
from sparkcli.models import folders
from sparkcli.models.policy import (
    Policy,
    add_adapter,
    load,
    load_into,
    read_optimizer,
    read_state,
    reference,
    save,
)

PROMPT = torch.tensor([[1, 2, 3, 4]])


def logits(policy: Policy) -> torch.Tensor:
    with torch.no_grad():
        return policy.model(input_ids=PROMPT).logits


def trained(model_folder: Path, method: str, seed: int = 0, rank: int = 4) -> Policy:
    """A policy that differs from its base, as after a training step."""
    policy = load_tiny(model_folder)
    if method == "lora":
        add_adapter(policy, TrainConfig(lora_rank=rank, lora_alpha=8, seed=seed))
    stir(policy, seed=seed)
    return policy


def file_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_saved_policy_loads_as_it_was(model_folder: Path, tmp_path: Path, method: str) -> None:
    policy = trained(model_folder, method)
    base = policy.base_fingerprint
    save(policy, tmp_path / "1", {"step": 1}, {"exp_avg": torch.ones(3)})
    again = load_tiny(model_folder, policy=tmp_path / "1")
    torch.testing.assert_close(logits(again), logits(policy), rtol=0, atol=0)
    assert again.fingerprint == policy.fingerprint != base
    assert read_state(tmp_path / "1") == {
        "step": 1, "parent": base, "base": {"name": str(model_folder), "fingerprint": base}}
    optimizer = read_optimizer(tmp_path / "1")
    assert optimizer is not None and optimizer["exp_avg"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_same_policy_is_the_same_bytes(model_folder: Path, tmp_path: Path, method: str) -> None:
    for name in ("a", "b"):
        save(trained(model_folder, method), tmp_path / name, {"step": 1}, None)
    assert file_bytes(tmp_path / "a") == file_bytes(tmp_path / "b")


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_an_adapter_is_in_pefts_own_layout(model_folder: Path, tmp_path: Path) -> None:
    policy = trained(model_folder, "lora")
    save(policy, tmp_path / "1", {}, None)
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model_folder), str(tmp_path / "1"))
    torch.testing.assert_close(plain(input_ids=PROMPT).logits, logits(policy))


def test_a_full_policy_is_a_hugging_face_folder(model_folder: Path, tmp_path: Path) -> None:
    policy = trained(model_folder, "full")
    save(policy, tmp_path / "1", {}, None)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "1")
    torch.testing.assert_close(plain(input_ids=PROMPT).logits, logits(policy), rtol=0, atol=0)
    assert (tmp_path / "1" / "tokenizer.json").read_bytes() == (model_folder / "tokenizer.json").read_bytes()


def test_swapping_goes_to_any_policy_and_back(model_folder: Path, tmp_path: Path) -> None:
    makers = {"lora": ("lora", 1, 4), "lora2": ("lora", 2, 4), "other rank": ("lora", 3, 2), "full": ("full", 4, 0)}
    expected = {None: logits(load_tiny(model_folder))}
    for name, (method, seed, rank) in makers.items():
        policy = trained(model_folder, method, seed, rank or 4)
        save(policy, tmp_path / name, {}, None)
        expected[name] = logits(policy)
    policy = load_tiny(model_folder)
    order = ["lora", "lora2", "other rank", "full", "lora", None, "full", None, "lora2", "full", "other rank"]
    for name in order:
        load_into(policy, tmp_path / name if name else None)
        torch.testing.assert_close(logits(policy), expected[name], rtol=0, atol=0)


def test_swapping_an_adapter_keeps_the_parameters_an_optimiser_holds(model_folder: Path, tmp_path: Path) -> None:
    save(trained(model_folder, "lora", seed=1), tmp_path / "1", {}, None)
    policy = trained(model_folder, "lora", seed=2)
    before = [id(p) for p in policy.model.parameters() if p.requires_grad]
    load_into(policy, tmp_path / "1")
    assert [id(p) for p in policy.model.parameters() if p.requires_grad] == before


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_policy_that_was_trained_on_is_loaded_again(model_folder: Path, tmp_path: Path, method: str) -> None:
    policy = trained(model_folder, method)
    save(policy, tmp_path / "1", {}, None)
    expected = logits(policy)
    stir(policy, seed=9)
    load_into(policy, tmp_path / "1")
    torch.testing.assert_close(logits(policy), expected, rtol=0, atol=0)
    stir(policy, seed=9)
    load_into(policy, None)
    torch.testing.assert_close(logits(policy), logits(load_tiny(model_folder)), rtol=0, atol=0)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_reference_is_the_base(model_folder: Path, tmp_path: Path, method: str) -> None:
    policy = trained(model_folder, method)
    moved = logits(policy)
    with reference(policy) as frozen, torch.no_grad():
        found = frozen(input_ids=PROMPT).logits
    torch.testing.assert_close(found, logits(load_tiny(model_folder)), rtol=0, atol=0)
    torch.testing.assert_close(logits(policy), moved, rtol=0, atol=0)
    assert any(p.requires_grad for p in policy.model.parameters())


def test_weights_that_have_not_moved_are_their_own_reference(model_folder: Path, tmp_path: Path) -> None:
    policy = load_tiny(model_folder)
    with reference(policy) as frozen:
        assert frozen is policy.model
    assert policy.frozen is None
    stir(policy)
    with reference(policy) as frozen:
        assert frozen is policy.frozen is not policy.model
    save(policy, tmp_path / "1", {}, None)
    with reference(load_tiny(model_folder, policy=tmp_path / "1")) as frozen, torch.no_grad():
        torch.testing.assert_close(frozen(input_ids=PROMPT).logits, logits(load_tiny(model_folder)), rtol=0, atol=0)


def test_a_new_adapter_changes_nothing_and_depends_on_its_seed_alone(model_folder: Path) -> None:
    policy = load_tiny(model_folder)
    before = logits(policy)
    state = torch.random.get_rng_state()
    add_adapter(policy, TrainConfig(lora_rank=4, lora_alpha=8, seed=3))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.testing.assert_close(logits(policy), before, rtol=0, atol=0)
    other = load_tiny(model_folder)
    torch.manual_seed(1)
    add_adapter(other, TrainConfig(lora_rank=4, lora_alpha=8, seed=3))
    pairs = zip(policy.model.parameters(), other.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_an_adapter_does_not_go_on_top_of_another_policy(model_folder: Path, tmp_path: Path) -> None:
    save(trained(model_folder, "full"), tmp_path / "1", {}, None)
    with pytest.raises(UsageError, match="full weights of its own"):
        add_adapter(load_tiny(model_folder, policy=tmp_path / "1"), TrainConfig(lora_rank=4, lora_alpha=8))


@pytest.mark.parametrize(("damage", "message"), [
    (lambda d: (d / "adapter_model.safetensors").unlink(), "adapter_model.safetensors is missing"),
    (lambda d: (d / "adapter_config.json").unlink(), "adapter_config.json is missing"),
    (lambda d: (d / "trainer_state.json").unlink(), "trainer_state.json is missing"),
    (lambda d: (d / "trainer_state.json").write_text('{"base": '), "broken JSON"),
    (lambda d: (d / "adapter_model.safetensors").write_bytes(
        (d / "adapter_model.safetensors").read_bytes()[:-1]), "cut short"),
    (lambda d: (d / "optimizer.safetensors").write_bytes(b"123"), "cut short"),
    (lambda d: (d / "adapter_config.json").write_text("{}"), "does not fit"),
    (shutil.rmtree, "no such directory"),
])
def test_a_damaged_policy_is_a_usage_error_of_one_line(model_folder: Path, tmp_path: Path, damage, message) -> None:
    directory = tmp_path / "1"
    save(trained(model_folder, "lora"), directory, {}, {"m": torch.ones(2)})
    damage(directory)
    with pytest.raises(UsageError, match=message) as caught:
        load_tiny(model_folder, policy=directory)
    assert "\n" not in str(caught.value)


def test_a_policy_of_another_model_is_refused(model_folder: Path, tmp_path: Path) -> None:
    save(trained(model_folder, "lora"), tmp_path / "1", {}, None)
    other = write_model(tmp_path / "other", seed=1)
    with pytest.raises(UsageError, match=r"was trained on model .* is another"):
        load_tiny(other, policy=tmp_path / "1")


def test_a_broken_model_folder_is_a_usage_error(model_folder: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(model_folder, tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UsageError, match="cut short"):
        load_tiny(broken)
    weights.unlink()
    (broken / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UsageError, match="only safetensors"):
        load_tiny(broken)


def test_an_unknown_device_is_a_usage_error(model_folder: Path) -> None:
    with pytest.raises(UsageError, match="device 'gpu0'"):
        load(ModelConfig(name=str(model_folder), device="gpu0"))


def test_saving_replaces_a_policy_but_never_a_foreign_folder(model_folder: Path, tmp_path: Path) -> None:
    policy = trained(model_folder, "lora")
    save(policy, tmp_path / "1", {"step": 1}, None)
    save(policy, tmp_path / "1", {"step": 2}, None)
    assert read_state(tmp_path / "1")["step"] == 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(UsageError, match="holds something else"):
        save(policy, tmp_path / "mine", {}, None)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "mine"]


def test_a_full_disk_leaves_the_old_policy_and_no_rubbish(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = trained(model_folder, "lora")
    save(policy, tmp_path / "1", {"step": 1}, None)
    before = file_bytes(tmp_path / "1")

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folders, "sync", full)
    with pytest.raises(SparkError, match="No space left"):
        save(policy, tmp_path / "1", {"step": 2}, None)
    assert file_bytes(tmp_path / "1") == before
    assert [p.name for p in tmp_path.iterdir()] == ["1"]


def test_the_base_may_be_named_in_another_way(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(trained(model_folder, "lora"), tmp_path / "1", {}, None)
    monkeypatch.chdir(model_folder.parent)
    again = load_tiny(Path(model_folder.name), policy=tmp_path / "1")
    torch.testing.assert_close(logits(again), logits(trained(model_folder, "lora")), rtol=0, atol=0)


def test_the_adapter_names_its_base(model_folder: Path, tmp_path: Path) -> None:
    save(trained(model_folder, "lora"), tmp_path / "1", {}, None)
    config = json.loads((tmp_path / "1" / "adapter_config.json").read_bytes())
    assert config["base_model_name_or_path"] == str(model_folder)
    assert config["target_modules"] == sorted(config["target_modules"])
