"""Whole phases on rollouts with images: what is trained and what stays, what is refused, and TRL's numbers."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from PIL import Image
from tests.logprobs import naive_logprobs
from tests.models.tiny import load_tiny, write_model
from tests.models.vision import write_pictures, write_vision_model
from tests.training.real import alternately
from tests.training.references import difference, gradients_of, move
from tests.training.trl_oracle import build, settle
from tests.training.visions import rollouts
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForImageTextToText, GitConfig, GitForCausalLM

from sparkcli.config import ModelConfig, RolloutConfig, TrainConfig
from sparkcli.engines.transformers.engine import TransformersEngine
from sparkcli.errors import InputError, UsageError
from sparkcli.method.advantages import advantages
from sparkcli.method.objectives import objective
from sparkcli.models.pictures import Pictures
from sparkcli.models.policy import Policy, export, load, reference, save, trainable
from sparkcli.models.prefix import pad_left, pad_right
from sparkcli.models.tower import vision_parameters
from sparkcli.records import Prompt, Scored, groups
from sparkcli.training.batches import cost
from sparkcli.training.plan import plan
from sparkcli.training.scoring import read
from sparkcli.training.sights import Sights
from sparkcli.training.step import Trainer

KINDS = ("qwen2_5_vl", "qwen3_vl")
CPU = torch.device("cpu")
LORA: dict[str, Any] = {"method": "lora", "lora_rank": 4, "lora_alpha": 8, "lr": 1e-2, "updates": 2, "kl": 0.1}
FULL: dict[str, Any] = {**LORA, "method": "full", "lr": 1e-3}


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vision_model(tmp_path_factory.mktemp(request.param), kind=request.param)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def fresh(folder: Path) -> Callable[..., Policy]:
    """Loads the model, or a policy on top of it."""
    return lambda policy=None, **settings: load(ModelConfig(
        name=str(folder), policy=str(policy) if policy else None, device="cpu", **settings))


def weights(policy: Policy) -> dict[str, Tensor]:
    """Copies of all there are, by name in the network without an adapter."""
    return {name.replace(".base_layer", ""): parameter.detach().clone()
            for name, parameter in policy.network.named_parameters()}


# What is trained.


@pytest.mark.parametrize("train_vision", [False, True], ids=["vision frozen", "vision trained"])
@pytest.mark.parametrize("settings", [LORA, FULL], ids=["lora", "full"])
def test_frozen_is_frozen_to_the_bit_and_trained_has_changed(fresh: Callable[..., Policy], pictures: dict[str, str],
                                                             settings: dict[str, Any], train_vision: bool) -> None:
    policy = fresh()
    records, start = rollouts(policy, pictures), weights(policy)
    metrics = Trainer(policy, TrainConfig(**settings, train_vision=train_vision)).step(records)
    assert metrics["updates"] == 2
    end = weights(policy)
    vision = {name.replace(".base_layer", "") for name in vision_parameters(policy.network)}
    moved = {name for name in end if name not in start or not torch.equal(end[name], start[name])}
    assert bool(moved & vision) is train_vision
    assert moved - vision
    if settings is FULL:
        still = {name for name in end if not end[name].any() and name not in moved}  # a norm's bias may start at 0
        assert moved | still >= (end.keys() if train_vision else end.keys() - vision)
    else:
        assert {name for name in moved if ".lora_" not in name} == set()


def test_an_adapter_is_on_the_language_model_alone_unless_vision_is_trained(fresh: Callable[..., Policy],
                                                                            tmp_path: Path) -> None:
    settings: dict[str, Any]
    for name, settings in {"plain": {}, "named": {"lora_targets": ("down_proj", "k_proj")},
                           "vision": {"train_vision": True}}.items():
        trainer = Trainer(fresh(), TrainConfig(**LORA, **settings))
        assert any(".visual." in key for key in trainer.parameters) is (name == "vision")
        trainer.save(tmp_path / name)
        again = Trainer(fresh(tmp_path / name), TrainConfig(**LORA, **settings))
        assert again.parameters.keys() == trainer.parameters.keys()
    with pytest.raises(UsageError, match="other layers than lora_targets all-linear with train_vision"):
        Trainer(fresh(tmp_path / "plain"), TrainConfig(**LORA, train_vision=True))


def test_layers_that_read_images_are_frozen_by_name_too(fresh: Callable[..., Policy]) -> None:
    with pytest.raises(UsageError, match=r"'model\.visual\.blocks\.0\.attn\.qkv' reads images, which stays frozen"):
        Trainer(fresh(), TrainConfig(**LORA, lora_targets=("qkv",)))
    trainer = Trainer(fresh(), TrainConfig(**LORA, lora_targets=("qkv",), train_vision=True))
    assert all(".visual.blocks." in name for name in trainer.parameters)


def test_an_adapter_on_the_vision_tower_goes_on_only_where_that_is_asked_for(fresh: Callable[..., Policy],
                                                                             tmp_path: Path) -> None:
    policy = fresh()
    trainable(policy, TrainConfig(**LORA, train_vision=True))
    save(policy, tmp_path / "policy", {}, None)
    assert trainable(fresh(tmp_path / "policy"), TrainConfig(**LORA, train_vision=True))
    with pytest.raises(UsageError, match=r"has an adapter on layers that read images, .*; give --train-vision"):
        trainable(fresh(tmp_path / "policy"), TrainConfig(**LORA))


def test_a_model_of_text_has_no_vision_to_train(tmp_path: Path) -> None:
    policy = load_tiny(write_model(tmp_path))
    with pytest.raises(UsageError, match=r"train_vision: model .* reads text only"):
        Trainer(policy, TrainConfig(**FULL, train_vision=True))


def test_where_it_is_not_known_what_reads_images_nothing_is_trained(tmp_path: Path) -> None:
    """GIT's language model, as transformers tells it, is all of the network."""
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    network = GitForCausalLM(GitConfig(vision_config={**sizes, "image_size": 32, "patch_size": 16}, vocab_size=64,
                                       **sizes))
    policy = dataclasses.replace(load_tiny(write_model(tmp_path)), model=network)
    for config in (TrainConfig(**FULL), TrainConfig(**LORA)):
        with pytest.raises(UsageError, match="git: transformers does not tell its language model from what reads"):
            trainable(policy, config)


@pytest.mark.parametrize("settings", [LORA, FULL], ids=["lora", "full"])
def test_a_policy_goes_on_from_where_it_was_saved(fresh: Callable[..., Policy], pictures: dict[str, str],
                                                  settings: dict[str, Any], tmp_path: Path) -> None:
    """A full policy's folder is a model of its own: with what reads images and prompts."""
    trainer = Trainer(fresh(), TrainConfig(**settings))
    records = rollouts(trainer.policy, pictures)
    trainer.step(records)
    trainer.save(tmp_path / "policy")
    later = [dataclasses.replace(record, policy=trainer.policy.fingerprint) for record in records]
    again = Trainer(fresh(tmp_path / "policy"), TrainConfig(**settings))
    assert again.probe(later) == trainer.probe(later)
    export(tmp_path / "policy", tmp_path / "exported")
    for name in ("exported", "policy") if settings is FULL else ("exported",):
        model = load(ModelConfig(name=str(tmp_path / name), device="cpu"))
        alone = Trainer(model, TrainConfig(**FULL)).probe(later)
        assert alone["ratio"]["max"] == pytest.approx(trainer.probe(later)["ratio"]["max"], rel=1e-4)


@pytest.mark.parametrize("train_vision", [False, True], ids=["language", "vision too"])
def test_peft_loads_the_adapter_as_it_is(folder: Path, fresh: Callable[..., Policy], pictures: dict[str, str],
                                         train_vision: bool, tmp_path: Path) -> None:
    trainer = Trainer(fresh(), TrainConfig(**LORA, train_vision=train_vision))
    records = rollouts(trainer.policy, pictures)
    trainer.step(records)
    trainer.save(tmp_path / "policy")
    model = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(folder), str(tmp_path / "policy"))
    placed = [Pictures(trainer.policy).placed(record) for record in records]
    completions = [[record.token_ids or ()] for record in records]
    with torch.no_grad():
        found_BT, _ = naive_logprobs(model.eval(), placed, completions)
        expected_BT, _ = naive_logprobs(trainer.policy.model, placed, completions)
        assert torch.equal(found_BT, expected_BT)
        with trainer.policy.model.disable_adapter():
            assert not torch.allclose(naive_logprobs(trainer.policy.model, placed, completions)[0], expected_BT)


# What is computed.


def test_rollouts_of_the_policy_itself_have_a_ratio_of_1(fresh: Callable[..., Policy],
                                                         pictures: dict[str, str]) -> None:
    policy = fresh()
    report = Trainer(policy, TrainConfig(**LORA)).probe(rollouts(policy, pictures))
    assert report["samples"] == 12
    assert report["ratio"]["min"] == pytest.approx(1, abs=1e-5) == report["ratio"]["max"]


@pytest.mark.parametrize("settings", [LORA, {**LORA, "train_vision": True}, FULL], ids=["lora", "vision", "full"])
def test_what_the_engine_samples_after_an_update_has_a_ratio_of_1(fresh: Callable[..., Policy],
                                                                  pictures: dict[str, str],
                                                                  settings: dict[str, Any]) -> None:
    """The trainer's passes and the engine's agree on weights that have moved, with images and without."""
    policy = fresh()
    trainer, engine = Trainer(policy, TrainConfig(**settings)), TransformersEngine(policy)
    prompts = [Prompt(id=record.id, prompt=record.prompt, images=record.images)
               for record in rollouts(policy, pictures, samples=1)]
    config = RolloutConfig(samples=4, max_tokens=12)

    def sampled() -> list[Scored]:
        return alternately([rollout for group in engine.sample(prompts, config) for rollout in group])

    assert trainer.step(sampled())["updates"] == 2
    report = trainer.probe(sampled())
    assert report["samples"] == 12
    assert (report["ratio"]["min"], report["ratio"]["max"]) == pytest.approx((1, 1), abs=1e-5)


@pytest.mark.parametrize("settings", [LORA, FULL], ids=["lora", "full"])
def test_text_alone_gets_the_ids_that_were_recorded(fresh: Callable[..., Policy], pictures: dict[str, str],
                                                    settings: dict[str, Any]) -> None:
    policy = fresh()
    records = rollouts(policy, pictures)
    bare = [dataclasses.replace(record, prompt_token_ids=None, logprobs=None) for record in records]
    config = TrainConfig(**settings, score_missing=True)
    found, expected = Trainer(fresh(), config).step(bare), Trainer(policy, config).step(records)
    assert found["scored_missing"] == len(records)
    for name in ("loss", "kl", "grad_norm", "tokens"):
        assert found[name] == pytest.approx(expected[name], rel=1e-4), name


def test_patches_count_where_the_vision_tower_is_trained(fresh: Callable[..., Policy],
                                                         pictures: dict[str, str]) -> None:
    costs = {}
    for train_vision in (False, True):
        policy, config = fresh(), TrainConfig(**FULL, train_vision=train_vision)
        trainable(policy, config)
        part = read(rollouts(policy, pictures), policy, config, Sights(policy)).groups[0]
        costs[train_vision] = {way: cost([part], way) for way in ("packed", "shared", "unshared")}
        assert [sample.patches for sample in part] == [48 * train_vision] * 4
    assert {way: costs[True][way] - costs[False][way] for way in costs[True]} == {
        "packed": 24, "shared": 24, "unshared": 4 * 24}


def test_a_dry_run_looks_at_the_images_and_counts_right(folder: Path, fresh: Callable[..., Policy],
                                                        pictures: dict[str, str]) -> None:
    records = rollouts(fresh(), pictures)
    needed = []
    for settings in (LORA, {**LORA, "train_vision": True}, FULL, {**FULL, "train_vision": True}):
        trainer = Trainer(fresh(), TrainConfig(**settings))
        found = plan(records, ModelConfig(name=str(folder), device="cpu"), TrainConfig(**settings))
        metrics = trainer.step(records)
        assert found["trainable_parameters"] == sum(p.numel() for p in trainer.parameters.values())
        for name in ("micro_batches", "tokens", "shared_tokens"):
            assert found[name] == metrics[name], name
        needed.append(found["memory_mib"])
    assert needed[0]["activations"] < needed[1]["activations"]
    assert needed[2]["activations"] < needed[3]["activations"]
    assert needed[2]["optimizer"] < needed[3]["optimizer"]
    missing = [dataclasses.replace(records[0], images=("/nowhere.png",)), *records[1:]]
    with pytest.raises(InputError, match="prompt 'one': image 1"):
        plan(missing, ModelConfig(name=str(folder), device="cpu"), TrainConfig(**LORA))


# What is refused, before anything is computed.


def refused(policy: Policy, records: list[Scored], told: str, **settings: Any) -> None:
    trainer = Trainer(policy, TrainConfig(**LORA, **settings))
    trainer._score_reference = lambda _: pytest.fail("something was computed")  # type: ignore[method-assign]
    with pytest.raises(InputError, match=told) as error:
        trainer.step(records)
    assert "\n" not in str(error.value)


def test_images_that_are_not_what_they_were(fresh: Callable[..., Policy], pictures: dict[str, str],
                                            tmp_path: Path) -> None:
    copies = {name: shutil.copy(path, tmp_path / f"{name}.png") for name, path in pictures.items()}
    records = rollouts(fresh(), {name: str(path) for name, path in copies.items()})
    refused(fresh(max_pixels=40 * 40), records, "prompt 'one': .*tokens with its images, and .*--max-pixels")
    Image.new("RGB", (90, 90)).save(copies["wide"])
    refused(fresh(), records, "prompt 'one': prompt_token_ids: it has .*, and .* were recorded; are these the images")
    Path(copies["wide"]).write_text("no image")
    refused(fresh(), records, "prompt 'one': image 1 .*wide.png")
    Path(copies["wide"]).unlink()
    refused(fresh(), records, "prompt 'one': image 1 .*wide.png")


@pytest.mark.parametrize("engine", ["vllm/0.32.0", "openai/vllm-0.32.0"])
def test_images_that_were_scaled_with_other_rounding_are_told(fresh: Callable[..., Policy], pictures: dict[str, str],
                                                              engine: str, caplog: pytest.LogCaptureFixture) -> None:
    """vLLM needs torchvision; the tests run where it is not installed."""
    policy = fresh()
    records = [dataclasses.replace(record, sampling=dataclasses.replace(record.sampling, engine=engine))
               for record in rollouts(policy, pictures) if record.sampling]
    read(records, policy, TrainConfig(**LORA), Sights(policy))
    assert "8 of 12 rollouts show images that vLLM scaled with torchvision" in caplog.text
    caplog.clear()
    read(rollouts(policy, pictures), policy, TrainConfig(**LORA), Sights(policy))
    assert "torchvision" not in caplog.text


def test_a_model_of_text_does_not_train_without_the_images(fresh: Callable[..., Policy], pictures: dict[str, str],
                                                          tmp_path: Path) -> None:
    records = [dataclasses.replace(record, prompt_token_ids=(1, 2, 3)) for record in rollouts(fresh(), pictures)]
    refused(load_tiny(write_model(tmp_path)), records[:4], "prompt 'one': has images, and .* reads text only",
            allow_stale=True)


# TRL's numbers.


def inputs_of(policy: Policy, records: list[Scored], ref_BT: Tensor) -> dict[str, Any]:
    """The batch as TRL takes it: each sample with images of its own."""
    placed = [Pictures(policy).placed(record) for record in records]
    prompt_ids, prompt_mask = pad_left([prompt.token_ids for prompt in placed], CPU)
    ids, mask = pad_right([record.token_ids or () for record in records], CPU)
    old_BT = pad_sequence([torch.tensor(record.logprobs) for record in records], batch_first=True)
    values = advantages([[record.reward for record in group] for group in groups(records)], "group")
    shown = [prompt.pixels for prompt in placed if prompt.pixels]
    whole = torch.cat([prompt_ids, ids], 1)
    return {"prompt_ids": prompt_ids, "prompt_mask": prompt_mask, "completion_ids": ids, "completion_mask": mask.long(),
            "advantages": torch.tensor([a for group in values for a in group]), "ref_per_token_logps": ref_BT,
            "old_per_token_logps": old_BT, "num_items_in_batch": mask.sum(),
            "pixel_values": torch.cat([pixels["pixel_values"] for pixels in shown]),
            "image_grid_thw": torch.cat([pixels["image_grid_thw"] for pixels in shown]),
            "num_images": [len(prompt.pixels.get("image_grid_thw", ())) for prompt in placed],
            "mm_token_type_ids": (whole == policy.network.config.image_token_id).long()}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kl", [0.0, 0.1])
def test_an_update_is_trls(folder: Path, fresh: Callable[..., Policy], pictures: dict[str, str], kl: float,
                           tmp_path: Path) -> None:
    policy = fresh()
    oracle = build("GRPO", folder, tmp_path, processor=policy.reader.processor)
    records = rollouts(policy, pictures)
    config = TrainConfig(method="full", train_vision=True, updates=1, lr=0.0, max_grad_norm=float("inf"), kl=kl)
    trainer = Trainer(policy, config)
    move(policy, 0.01)
    placed = [Pictures(policy).placed(record) for record in records]
    with reference(policy) as frozen, torch.no_grad():
        ref_BT, _ = naive_logprobs(frozen, placed, [[record.token_ids or ()] for record in records])
    settle(oracle, "spark", objective(config), kl, 0.0)
    oracle.model.load_state_dict(policy.model.state_dict())
    oracle.model.zero_grad()
    expected = oracle._compute_loss(oracle.model, inputs_of(policy, records, ref_BT))
    expected.backward()

    metrics, gradients = gradients_of(trainer, records)
    assert metrics["loss"] == pytest.approx(float(expected.detach()), rel=1e-5, abs=1e-7)
    largest = max(float(gradient.norm()) for gradient in gradients.values())
    for name, parameter in oracle.model.named_parameters():
        if float(gradients[name].norm()) > 1e-6 * largest:
            assert difference(gradients[name], parameter.grad) <= 1e-5, name


def test_a_micro_batch_has_the_numbers_of_its_groups_alone(fresh: Callable[..., Policy],
                                                           pictures: dict[str, str]) -> None:
    """A budget that takes all prompts together, or each sample alone, changes nothing."""
    losses = []
    for tokens in (4096, 1):
        policy = fresh()
        trainer = Trainer(policy, TrainConfig(**{**FULL, "updates": 1}, tokens_per_batch=tokens, train_vision=True))
        metrics, gradients = gradients_of(trainer, rollouts(policy, pictures))
        losses.append((metrics, gradients))
    (together, first), (apart, second) = losses
    assert (together["micro_batches"], apart["micro_batches"]) == (1, 12)
    assert together["loss"] == pytest.approx(apart["loss"], rel=1e-5)
    assert max(difference(first[name], second[name]) for name in first if first[name].norm() > 1e-4) <= 2e-5
