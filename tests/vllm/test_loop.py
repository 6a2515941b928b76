"""Whole loops that sample with vLLM, in this process and at a server: they learn, and each sample is of the policy that
it trains."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.vllm.server import Server, until

from sparkcli.files.recipe import write_recipe
from sparkcli.models.policy import load
from sparkcli.records import Scored
from sparkcli.run.loop import run
from sparkcli.run.settings import Settings
from sparkcli.run.state import RunFolder, read_all
from sparkcli.run.watch import watching
from sparkcli.training.step import Trainer

RECIPE: dict[str, dict[str, Any]] = {
    "loop": {"prompts": "builtin:tiny-math/train", "steps": 3, "prompts_per_step": 16, "queue_batch": 12, "keep": 9},
    "model": {"name": "builtin:tiny-math", "device": "cpu"},
    "rollout": {"samples": 8, "max_tokens": 64},
    "verify": {"jobs": 1},
    "recycle": {"pair_share": 0.5, "max_judge": 8, "max_reflect": 8},
    "train": {"method": "lora", "lr": 1e-3, "updates": 2},
    "eval": {"prompts": "builtin:tiny-math/test", "limit": 24},
}
FULL = {"train__method": "full", "train__lr": 1e-4, "loop__steps": 2}
SEEING = {"model__name": "builtin:tiny-vision", "model__engine": "vllm", "loop__prompts": "builtin:tiny-vision/train",
          "loop__steps": 2, "loop__prompts_per_step": 6, "loop__queue_batch": 4, "loop__keep": 4, "eval__prompts": ""}
STRAY = 1e-3
"""How far the ratio of two probabilities of the same token may be from 1 by rounding."""


def settings(out: Path, **changes: Any) -> Settings:
    sections = {section: dict(values) for section, values in RECIPE.items()}
    sections["loop"]["out"] = str(out)
    for key, value in changes.items():
        section, _, field = key.partition("__")
        sections.setdefault(section, {})[field] = value
    return Settings.of(sections, {}, {})


def finished(wanted: Settings, *, resume: bool = False) -> Path:
    """The directory of a run that was brought to its end."""
    with watching(terminal=False, quiet=True, steps=wanted.loop.steps) as watcher:
        run(wanted, watcher, resume=resume)
    return Path(wanted.loop.out)


@pytest.fixture(scope="module")
def url(servers: Callable[..., Server]) -> str:
    return servers("builtin:tiny-math", "--max-lora-rank", "16").base_url


@pytest.fixture(scope="module")
def engine(url: str) -> Callable[[str], dict[str, Any]]:
    """The settings of an engine."""
    at_server = {"server__base_url": [url], "server__sync_adapters": True}
    return lambda name: {"model__engine": name, **(at_server if name == "openai" else {})}


def assert_on_policy(folder: Path, made: Settings, again: Path) -> None:
    """Every sample has the log-probs of the policy that it trained. The one that answered recycled prompts is gone;
    training gives it back, in `again`."""
    steps = RunFolder(folder)
    for number in range(1, steps.finished_steps() + 1):
        before, wanted = steps.policy(number - 1), made.of_step(number)
        trainer = Trainer(load(replace(made.model, policy=before and str(before))), wanted.train)
        for name in ("scored", "again-scored"):
            scored = read_all(steps.step(number) / f"{name}.jsonl", Scored)
            ratio = trainer.probe(scored)["ratio"]
            assert abs(ratio["min"] - 1) < STRAY and abs(ratio["max"] - 1) < STRAY, f"step {number}, {name}: {ratio}"
            trainer.step(scored)  # refuses what another policy is said to have sampled
            trainer.save(again)


def solved(folder: Path) -> list[float]:
    """Mean reward of each step's samples."""
    return [step["policy"]["reward"]["solve"] for step in RunFolder(folder).metrics()]


def measured(folder: Path, name: str) -> dict[str, float]:
    """Held-out accuracies."""
    found = orjson.loads((folder / "heldout" / f"{name}.json").read_bytes())["abilities"]
    return {ability: result["accuracy"] for ability, result in found.items()}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run with the transformers engine."""
    return finished(settings(tmp_path_factory.mktemp("loop") / "transformers", model__engine="transformers"))


@pytest.mark.parametrize("name", ["vllm", "openai"])
def test_a_loop_learns_as_with_the_transformers_engine(
        engine: Callable[[str], dict[str, Any]], expected: Path, tmp_path: Path, name: str) -> None:
    made = settings(tmp_path / "run", **engine(name))
    folder = finished(made)
    assert_on_policy(folder, made, tmp_path / "again")
    assert measured(folder, "before")["solve"] == measured(expected, "before")["solve"], "the base, greedily"
    assert measured(folder, "after-000003")["solve"] > measured(folder, "before")["solve"] + 0.4
    assert solved(folder) == pytest.approx(solved(expected), abs=0.15)


@pytest.mark.parametrize("name", ["vllm", "openai"])
def test_a_loop_trains_full_weights(
        engine: Callable[[str], dict[str, Any]], expected: Path, tmp_path: Path, name: str) -> None:
    made = settings(tmp_path / "run", **FULL, **engine(name))
    folder = finished(made)
    assert_on_policy(folder, made, tmp_path / "again")
    assert measured(folder, "before")["solve"] == measured(expected, "before")["solve"], "the base, greedily"


@pytest.mark.parametrize("changes", [{}, {**FULL, "train__train_vision": True}], ids=["adapter", "all weights"])
def test_a_loop_with_images(tmp_path: Path, changes: dict[str, Any]) -> None:
    made = settings(tmp_path / "run", **{**SEEING, **changes})
    folder = finished(made)
    assert_on_policy(folder, made, tmp_path / "again")
    for name in ("scored", "again-scored"):
        assert any(rollout.images for rollout in read_all(RunFolder(folder).step(2) / f"{name}.jsonl", Scored))


def test_a_run_that_was_killed_goes_on_though_the_server_holds_what_was_not_saved(
        engine: Callable[[str], dict[str, Any]], tmp_path: Path) -> None:
    made = settings(tmp_path / "run", **FULL, **engine("openai"), eval__prompts="")
    recipe, folder = tmp_path / "recipe.toml", Path(made.loop.out)
    recipe.write_text(write_recipe(made.sections()))
    child = subprocess.Popen([sys.executable, "-m", "sparkcli", "loop", str(recipe), "-q"])
    updated = RunFolder(folder).step(1) / "again-rollouts.jsonl"
    try:
        assert until(lambda: updated.exists() or child.poll() is not None, 120)
    finally:
        child.kill()
        child.wait()
    assert RunFolder(folder).finished_steps() == 0
    assert_on_policy(finished(made, resume=True), made, tmp_path / "again")
