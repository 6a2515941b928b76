"""A run that was killed again and again gives the bytes of one that never was."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.run.conftest import contents
from tests.run.killed import FIRST

from sparkcli.files.recipe import write_recipe
from sparkcli.run.settings import Settings
from sparkcli.run.state import RunFolder

SCALED = {"loop__keep": 2, "eval__every": 2, "eval__scaling": "builtin:tiny-math/hard", "eval__scaling_limit": 1,
          "eval__scaling_samples": 2}
METHODS = {"full": {}, "lora": {"train__method": "lora", "train__lora_rank": 2},
           "network": {"model__engine": "transformers", "rollout__max_tokens": 12}}


def spawn(*arguments: str, repository: Path, **options: object) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": f"{repository / 'src'}{os.pathsep}{repository}"}
    return subprocess.Popen([sys.executable, *arguments], text=True, env=environ, cwd=repository, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "seed"), [("full", 0), ("full", 1), ("lora", 2), ("network", 3)])
def test_killed_at_any_instant_and_resumed_it_ends_with_the_same_bytes(
        settings: Callable[..., Settings], runs: Callable[..., Path], tmp_path: Path, repository: Path, method: str,
        seed: int) -> None:
    changes = {**SCALED, **METHODS[method]}
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(write_recipe(settings(**changes).sections()))
    child = spawn("-m", "tests.run.killed", str(recipe), str(tmp_path / "killed"), str(seed), repository=repository,
                  stdout=subprocess.PIPE)
    told = child.communicate(timeout=600)[0].splitlines()
    assert child.returncode == 0, told
    assert sum("killed" in line for line in told) >= FIRST
    killed, whole = tmp_path / "killed", runs("whole", **changes)
    assert contents(killed) == contents(whole)
    assert RunFolder(killed).metrics() == RunFolder(whole).metrics()


@pytest.mark.slow
def test_sigterm_ends_a_run_with_130_and_a_line_and_resume_continues_it(
        settings: Callable[..., Settings], runs: Callable[..., Path], tmp_path: Path, repository: Path) -> None:
    recipe, out = tmp_path / "recipe.toml", tmp_path / "stopped"
    recipe.write_text(write_recipe(settings(loop__steps=10).sections()))
    program = ("-c", "from sparkcli.commands.main import main; main()", "loop")
    child = spawn(*program, str(recipe), "-o", str(out), repository=repository, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not (out / "state.json").exists():
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGTERM)
    said = child.communicate(timeout=60)[1].splitlines()
    assert child.returncode == 130
    assert said[-1].startswith("sparkcli: interrupted")
    assert 1 <= RunFolder(out).finished_steps() < 10
    child = spawn(*program, "-o", str(out), "--resume", "-q", repository=repository, stderr=subprocess.PIPE)
    assert (child.communicate(timeout=120)[1], child.returncode) == ("", 0)
    assert contents(out) == contents(runs("whole", loop__steps=10))
