"""A training step that is killed at any instant leaves its parent as it was, and its output whole or not at all.

Real processes that run the real command on the built-in model, ended by SIGKILL: see `killed.py`.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.training.killed import digests
from tests.training.real import alternately, rollouts

from sparkcli.config import ModelConfig, TrainConfig
from sparkcli.models.policy import load
from sparkcli.records import Scored, dumps
from sparkcli.training.step import Trainer

pytestmark = pytest.mark.slow
LEFTOVER = re.compile(r"\.out\.(tmp|old)-[0-9a-f]{8}/.*")
STEP = ("train-step", "scored.jsonl", "-m", "builtin:tiny-math", "-q", "--lr", "1e-4", "--allow-stale", "-o", "out")
SCENARIOS = {
    "a new directory, an adapter": ("--method", "lora"),
    "a new directory, from a parent": ("--method", "full", "--policy", "parent"),
    "over an older policy, from a parent": ("--method", "full", "--policy", "parent"),
    "in place, over its own parent": ("--method", "full", "--policy", "out"),
}
DEATHS = dict(zip(SCENARIOS, (6, 20, 20, 12), strict=True))


@pytest.fixture(scope="module")
def records() -> list[Scored]:
    return alternately(rollouts())


@pytest.fixture(scope="module")
def parents(records: list[Scored], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two policies, one after the other, each fine-tuned in full."""
    folder = tmp_path_factory.mktemp("parents")
    trainer = Trainer(load(ModelConfig(name="builtin:tiny-math", device="cpu")),
                      TrainConfig(method="full", lr=3e-5, allow_stale=True))
    for name in ("older", "parent"):
        trainer.step(records)
        trainer.save(folder / name)
    return folder


def spawn(arguments: list[str], repository: Path, **options: Any) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": f"{repository / 'src'}{os.pathsep}{repository}"}
    return subprocess.Popen([sys.executable, *arguments], text=True, env=environ, **options)


def below(files: dict[str, str], folder: str) -> dict[str, str]:
    """The part of a listing that stands in a folder, by the names it has there."""
    return {name.removeprefix(f"{folder}/"): digest for name, digest in files.items() if name.startswith(f"{folder}/")}


@pytest.mark.parametrize(("scenario", "seed"), [(name, n) for n, name in enumerate(SCENARIOS)])
def test_killed_at_any_instant_a_policy_is_the_old_one_or_the_new_one(
        records: list[Scored], parents: Path, tmp_path: Path, repository: Path, scenario: str, seed: int) -> None:
    before = tmp_path / "before"
    before.mkdir()
    (before / "scored.jsonl").write_bytes(b"".join(map(dumps, records)))
    shutil.copytree(parents / "parent", before / "parent")
    if "over" in scenario or "in place" in scenario:
        shutil.copytree(parents / ("older" if "over" in scenario else "parent"), before / "out")
    untouched = {name: digest for name, digest in digests(before).items() if not name.startswith("out/")}
    arguments = ["-m", "tests.training.killed", str(tmp_path), str(seed), str(DEATHS[scenario]), *STEP,
                 *SCENARIOS[scenario]]
    lines = spawn(arguments, repository, stdout=subprocess.PIPE).communicate()[0].splitlines()
    told = [json.loads(line) for line in lines]
    whole, *children = told
    old, new = below(digests(before), "out"), below(whole["files"], "out")
    assert whole["code"] == 0 and new and new != old
    assert whole["files"] == {**untouched, **{f"out/{name}": digest for name, digest in new.items()}}
    assert sum(child["code"] == -signal.SIGKILL for child in children) == DEATHS[scenario]
    found = old
    for child in children:
        again = child["death"] is None and found == new and "in place" in scenario  # its parent is the new one already
        found = below(child["files"], "out")
        allowed = (old, new) if child["death"] else (found,) if again else (new,)
        assert found in allowed and child["code"] in (0, -signal.SIGKILL), child["death"]
        others = {name: digest for name, digest in child["files"].items() if not name.startswith("out/")}
        assert {name: digest for name, digest in others.items() if not LEFTOVER.fullmatch(name)} == untouched
    load(ModelConfig(name="builtin:tiny-math", device="cpu", policy=str(tmp_path / "work" / "out")))


def test_killed_while_it_starts_it_has_touched_nothing(records: list[Scored], parents: Path, tmp_path: Path,
                                                       repository: Path) -> None:
    (tmp_path / "scored.jsonl").write_bytes(b"".join(map(dumps, records)))
    shutil.copytree(parents / "parent", tmp_path / "parent")
    before = digests(tmp_path)
    draw = random.Random(0)
    for _ in range(3):
        arguments = ["-c", "from sparkcli.commands.main import main; main()", *STEP,
                     *SCENARIOS["a new directory, from a parent"]]
        process = spawn(arguments, repository, cwd=tmp_path)
        time.sleep(draw.uniform(0.05, 1.5))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert digests(tmp_path) == before
