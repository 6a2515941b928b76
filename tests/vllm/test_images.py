"""Prompts with images on vLLM in this process: the tokens, pixels and positions that transformers has."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.engines.contract import CONFIG
from tests.logprobs import naive_logprobs
from tests.models.tiny import load_tiny, stir
from tests.models.vision import write_pictures, write_vision_model

from sparkcli.builtin.tiny_vision.task import problems
from sparkcli.config import ModelConfig, TrainConfig
from sparkcli.engines.transformers.engine import TransformersEngine
from sparkcli.engines.vllm import images
from sparkcli.engines.vllm.engine import VLLMEngine
from sparkcli.models.policy import Policy, add_adapter, load, save, trainable
from sparkcli.models.prompts import encode
from sparkcli.models.sight import place
from sparkcli.records import Prompt, Rollout

KINDS = ("qwen2_5_vl", "qwen3_vl")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vision_model(tmp_path_factory.mktemp("model") / "model", kind=request.param, eos_bias=0.5)


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[VLLMEngine]:
    engine = opened(folder, trained=TrainConfig(lora_rank=4))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def policies(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two adapters of the language model, one of what reads images as well; full weights of both kinds."""
    parent = tmp_path_factory.mktemp("policies")
    settings = {"lora": TrainConfig(lora_rank=4), "lora2": TrainConfig(lora_rank=4, seed=1),
                "tower": TrainConfig(lora_rank=4, train_vision=True), "full": TrainConfig(method="full"),
                "seeing": TrainConfig(method="full", train_vision=True)}
    for seed, (name, config) in enumerate(settings.items()):
        policy = load_tiny(folder)
        if config.method == "lora":
            add_adapter(policy, config)
        trainable(policy, config)
        stir(policy, seed=seed, scale=0.05)
        save(policy, parent / name, {"step": 1}, None)
    return {name: parent / name for name in settings}


def opened(folder: Path, trained: TrainConfig | None = None, **changes: Any) -> VLLMEngine:
    return VLLMEngine(ModelConfig(name=str(folder), engine="vllm", **changes), CONFIG, beside_trainer=False,
                      trained=trained)


def mixed(pictures: dict[str, str]) -> list[Prompt]:
    """Prompts with no, one and several images, of all sizes, before and within the text."""
    def seen(id: str, *names: str) -> Prompt:
        return Prompt(id=id, prompt="What is it?", images=tuple(pictures[name] for name in names))

    between = [{"role": "system", "content": "Be brief."},
               {"role": "user", "content": [{"type": "text", "text": "Is this "}, {"type": "image"},
                                            {"type": "text", "text": " this? "},
                                            {"type": "image_url", "image_url": {"url": pictures["odd"]}}]}]
    return [*(seen(name, name) for name in pictures), Prompt(id="text", prompt="12 + 30 = ?"),
            seen("two", "wide", "odd"), seen("same", "square", "square", "small"),
            Prompt(id="between", prompt=between, images=(pictures["square"],)), Prompt(id="short", prompt="7?")]


def sampled(engine: Any, prompts: list[Prompt], **changes: Any) -> list[list[Rollout]]:
    return list(engine.sample(prompts, replace(CONFIG, **changes)))


def worst_difference(policy: Policy, prompts: list[Prompt], groups: list[list[Rollout]]) -> float:
    """The largest difference of recorded log-probs to those of a plain forward pass of transformers in float32."""
    assert [rollout.error for rollout in chain.from_iterable(groups) if rollout.error] == []
    encoded = [encode(prompt, policy.reader) for prompt in prompts]
    assert [list(group[0].prompt_token_ids or ()) for group in groups] == [e.token_ids for e in encoded]
    with torch.no_grad():
        logprobs_BT, mask_BT = naive_logprobs(
            policy.model, [place(policy.network, e) for e in encoded],
            [[r.token_ids or () for r in group] for group in groups])
    recorded = torch.tensor([value for group in groups for rollout in group for value in rollout.logprobs or ()])
    return float((recorded - logprobs_BT[mask_BT]).abs().max())


def test_log_probs_are_those_of_transformers(engine: VLLMEngine, folder: Path, pictures: dict[str, str]) -> None:
    prompts = mixed(pictures)
    groups = sampled(engine, prompts)
    assert worst_difference(load_tiny(folder), prompts, groups) < 1e-4


def test_the_most_likely_tokens_are_those_of_the_transformers_engine(
    engine: VLLMEngine, folder: Path, pictures: dict[str, str]
) -> None:
    prompts = mixed(pictures)
    ours = sampled(TransformersEngine(load_tiny(folder)), prompts, temperature=0.0, samples=1)
    for mine, theirs in zip(ours, sampled(engine, prompts, temperature=0.0, samples=1), strict=True):
        assert theirs[0].token_ids == mine[0].token_ids
        assert theirs[0].logprobs == pytest.approx(mine[0].logprobs, abs=1e-4)


@pytest.mark.parametrize("path", [("lora", "lora2", None, "lora"), ("full", "seeing", None, "seeing", "lora")])
def test_a_swap_takes_effect_on_images_seen_before(
    engine: VLLMEngine, folder: Path, policies: dict[str, Path], pictures: dict[str, str], path: tuple[str | None, ...]
) -> None:
    """What was computed of an image stays with an adapter of the language model, and goes with full weights."""
    prompts = mixed(pictures)[:7]
    engine.load_policy(None)
    sampled(engine, prompts)
    for name in path:
        directory = policies[name] if name else None
        engine.load_policy(directory)
        groups = sampled(engine, prompts)
        assert worst_difference(load_tiny(folder, policy=directory), prompts, groups) < 1e-4, name
    engine.load_policy(None)


def test_equal_tokens_with_other_images_are_other_prompts(engine: VLLMEngine, folder: Path, tmp_path: Path) -> None:
    """vLLM keeps blocks of 128 tokens; those of these prompts are alike."""
    text = "3 + 4 = 7, " * 20
    prompts = []
    for colour in ("red", "blue", "green"):
        Image.new("RGB", (100, 100), colour).save(tmp_path / f"{colour}.png")
        prompts.append(Prompt(id=colour, prompt=text, images=(str(tmp_path / f"{colour}.png"),)))
    for again in range(2):
        groups = sampled(engine, prompts, seed=again)
        assert len({group[0].prompt_token_ids for group in groups}) == 1
        assert len(groups[0][0].prompt_token_ids or ()) > 256
        assert worst_difference(load_tiny(folder), prompts, groups) < 1e-4


def test_an_image_that_changes_under_its_name_is_another(engine: VLLMEngine, folder: Path, tmp_path: Path) -> None:
    prompt = Prompt(id="changing", prompt="What colour?", images=(str(tmp_path / "it.png"),))
    for colour in ("red", "blue"):
        Image.new("RGB", (40, 40), colour).save(tmp_path / "it.png")
        assert worst_difference(load_tiny(folder), [prompt], sampled(engine, [prompt])) < 1e-4


def test_a_bad_image_does_not_lose_the_others(engine: VLLMEngine, pictures: dict[str, str]) -> None:
    missing = Prompt(id="missing", prompt="What is it?", images=("/nowhere/a.png",))
    good = mixed(pictures)[0]
    groups = sampled(engine, [missing, good])
    assert [group[0].finish_reason == "error" for group in groups] == [True, False]
    assert "'missing': image 1 (/nowhere/a.png)" in (groups[0][0].error or "")


def test_images_that_vllm_reads_otherwise_are_the_error_of_their_prompt(
    engine: VLLMEngine, folder: Path, pictures: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = mixed(pictures)[:3]
    with monkeypatch.context() as patched:
        patched.setattr(images, "processing", lambda reader: {"size": {"shortest_edge": 1, "longest_edge": 32 * 32}})
        groups = sampled(engine, [*prompts, Prompt(id="text", prompt="7?")])
    assert "'square': vllm reads its images otherwise (" in (groups[0][0].error or "")
    assert groups[-1][0].error is None
    assert worst_difference(load_tiny(folder), prompts, sampled(engine, prompts)) < 1e-4


class TestFresh:
    """Each opens its own, after the shared one was closed."""

    @pytest.fixture(autouse=True)
    def alone(self, engine: VLLMEngine) -> None:
        engine.close()

    def test_an_adapter_of_what_reads_images_is_not_left_out(
        self, folder: Path, policies: dict[str, Path], pictures: dict[str, str]
    ) -> None:
        """The first engine has no room for one and is made anew."""
        prompts = mixed(pictures)[:7]
        engine = opened(folder, trained=TrainConfig(lora_rank=4))
        for name in (None, "tower", "lora", None, "tower"):
            directory = policies[name] if name else None
            engine.load_policy(directory)
            groups = sampled(engine, prompts)
            assert worst_difference(load_tiny(folder, policy=directory), prompts, groups) < 1e-4, name
        engine.close()

    def test_a_policy_that_is_opened_with(
        self, folder: Path, policies: dict[str, Path], pictures: dict[str, str]
    ) -> None:
        prompts = mixed(pictures)
        engine = opened(folder, policy=str(policies["seeing"]), max_pixels=48 * 48)
        groups = sampled(engine, prompts)
        engine.close()
        policy = load(ModelConfig(name=str(folder), policy=str(policies["seeing"]), device="cpu", max_pixels=48 * 48))
        assert worst_difference(policy, prompts, groups) < 1e-4
        assert len(groups[0][0].prompt_token_ids or ()) < len(encode(prompts[0], load_tiny(folder).reader).token_ids)


def test_the_built_in_model_says_the_same_on_both_engines() -> None:
    prompts = list(problems("test", 0, 24))
    config = replace(CONFIG, samples=1, temperature=0.0, max_tokens=64)
    model = ModelConfig(name="builtin:tiny-vision", device="cpu")
    engine = VLLMEngine(model, config, beside_trainer=False, trained=None)
    theirs = list(engine.sample(prompts, config))
    drawn = sampled(engine, prompts)
    engine.close()
    policy = load(model)
    for mine, their in zip(TransformersEngine(policy).sample(prompts, config), theirs, strict=True):
        assert their[0].token_ids == mine[0].token_ids
        assert their[0].logprobs == pytest.approx(mine[0].logprobs, abs=1e-3)
    assert worst_difference(policy, prompts, drawn) < 1e-3


def test_a_folder_that_says_little_is_read_as_transformers_does(tmp_path: Path, pictures: dict[str, str]) -> None:
    """Limits to an image's size by their older names; nothing of how pixels are normalised."""
    folder = write_vision_model(tmp_path / "model")
    path = folder / "preprocessor_config.json"
    settings = json.loads(path.read_text())
    for name in ("do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std"):
        del settings[name]
    size = settings.pop("size")
    settings |= {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
    path.write_text(json.dumps(settings))
    for changes in ({}, {"max_pixels": 48 * 48}):
        engine = opened(folder, **changes)
        prompts = mixed(pictures)
        groups = sampled(engine, prompts)
        engine.close()
        policy = load(ModelConfig(name=str(folder), device="cpu", **changes))
        assert worst_difference(policy, prompts, groups) < 1e-4


def test_without_torchvision_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['torchvision'] = None\n")
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "7?"}\n')
    folder = write_vision_model(tmp_path / "model")
    command = [sys.executable, "-m", "sparkcli", "rollout", str(tmp_path / "prompts.jsonl"), "-m", str(folder),
               "--engine", "vllm"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 2 and "pip install torchvision, or --engine transformers" in done.stderr
