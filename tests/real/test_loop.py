"""A loop on a real model that is killed goes on as if it never had been."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.run.conftest import contents

from sparkcli.files.recipe import write_recipe
from sparkcli.run.settings import Settings
from sparkcli.run.state import RunFolder

SETTINGS: dict[str, dict[str, Any]] = {
    "loop": {"steps": 2, "prompts_per_step": 3, "queue_batch": 3, "keep": 9},
    "rollout": {"samples": 4, "max_tokens": 24},
    "verify": {"jobs": 1},
    "train": {"method": "lora", "updates": 1, "lr": 1e-4},
}


def start(repository: Path, *arguments: str | Path) -> "subprocess.Popen[str]":
    """`sparkcli loop ARGUMENTS`."""
    program = "from sparkcli.commands.main import main; main()"
    return subprocess.Popen([sys.executable, "-c", program, "loop", *map(str, arguments), "-q"], text=True,
                            env={**os.environ, "PYTHONPATH": str(repository / "src")}, stderr=subprocess.PIPE)


def ended(child: "subprocess.Popen[str]") -> str:
    """What it said, once it has ended as it should."""
    said = child.communicate(timeout=600)[1]
    assert child.returncode == 0, said
    return said


@pytest.mark.slow
def test_killed_in_its_second_step_and_resumed_it_leaves_the_same_bytes(
        model: Path, prompts: Path, repository: Path, tmp_path: Path) -> None:
    sections = {**SETTINGS, "model": {"name": str(model), "device": "cpu"},
                "loop": {**SETTINGS["loop"], "prompts": str(prompts)}}
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(write_recipe(Settings.of(sections, {}, {}).sections()))
    ended(start(repository, recipe, "-o", tmp_path / "whole"))
    killed = tmp_path / "killed"
    child = start(repository, recipe, "-o", killed)
    deadline = time.monotonic() + 300
    while not (killed / "steps" / "000002").exists():
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.05)
    child.kill()
    child.communicate(timeout=60)
    assert RunFolder(killed).finished_steps() == 1
    ended(start(repository, "-o", killed, "--resume"))
    assert contents(killed) == contents(tmp_path / "whole")
    assert len(RunFolder(killed).metrics()) == 2
