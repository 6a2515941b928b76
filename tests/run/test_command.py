"""`sparkcli loop`: where its settings come from, and how it ends."""

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.run.conftest import contents

from sparkcli.commands.main import main
from sparkcli.files.recipe import write_recipe
from sparkcli.run.settings import Settings
from sparkcli.run.state import RunFolder, locked

Loop = Callable[..., tuple[int, str, str]]


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Loop:
    """Runs the command in this process; returns exit code, stdout and stderr."""

    def do(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sparkcli", "loop", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), *capsys.readouterr()

    return do


@pytest.fixture
def recipe(settings: Callable[..., Settings], tmp_path: Path) -> Path:
    """A recipe of one small step, into `tmp_path/run`."""
    path = tmp_path / "recipe.toml"
    path.write_text(write_recipe(settings(loop__steps=1, eval__prompts="").sections()))
    return path


def resolved(loop: Loop, *arguments: object) -> dict[str, Any]:
    code, out, err = loop(*arguments, "--dry-run")
    assert (code, err) == (0, "")
    return tomllib.loads(out)


def test_flags_outrank_the_environment_which_outranks_the_recipe(
        loop: Loop, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolved(loop, recipe)["train"]["lr"] == 1e-3
    monkeypatch.setenv("SPARKCLI_TRAIN_LR", "0.25")
    monkeypatch.setenv("SPARKCLI_LOOP_STEPS", "5")
    assert resolved(loop, recipe)["train"]["lr"] == 0.25
    told = resolved(loop, recipe, "--set", "train.lr=0.5", "--steps", "7")
    assert (told["train"]["lr"], told["loop"]["steps"]) == (0.5, 7)


def test_a_setting_can_be_unset(loop: Loop, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARKCLI_RECYCLE_MAX_JUDGE", "3")
    assert resolved(loop, recipe)["recycle"]["max_judge"] == 3
    assert "max_judge" not in resolved(loop, recipe, "--set", "recycle.max_judge=none")["recycle"]


def test_one_entry_of_a_mapping_is_laid_over_the_others(
        loop: Loop, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe.write_text(recipe.read_text().replace("[rollout]", "[rollout]\nvllm = {a = 1, b = 2}"))
    entries = resolved(loop, recipe, "--set", "rollout.vllm.b=[3]", "--set", "rollout.vllm.c=text")["rollout"]["vllm"]
    assert entries == {"a": 1, "b": [3], "c": "text"}
    monkeypatch.setenv("SPARKCLI_ROLLOUT_VLLM", '{"b": 4}')
    assert resolved(loop, recipe, "--set", "rollout.vllm.c=5")["rollout"]["vllm"] == {"b": 4, "c": 5}
    assert resolved(loop, recipe, "--set", 'rollout.vllm={"d": 6}')["rollout"]["vllm"] == {"d": 6}
    assert "vllm" not in resolved(loop, recipe, "--set", "rollout.vllm=none")["rollout"]


@pytest.mark.parametrize("line", ["vllm = 3", "vllm = [3]"])
def test_an_entry_cannot_be_laid_over_what_is_no_mapping(loop: Loop, tmp_path: Path, line: str) -> None:
    (tmp_path / "recipe.toml").write_text(f"[rollout]\n{line}\n")
    code, _, err = loop(tmp_path / "recipe.toml", "--set", "rollout.vllm.a=1", "--dry-run")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "recipe: rollout.vllm: expected dict, found" in err


def test_a_value_where_a_section_should_be_is_told_whatever_is_set(loop: Loop, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("rollout = 3\n")
    code, _, err = loop(tmp_path / "recipe.toml", "--set", "rollout.seed=1", "--dry-run")
    assert (code, err) == (2, "sparkcli: recipe: rollout: expected a section [rollout], found a value\n")


@pytest.mark.parametrize(("text", "message"), [
    ("rollout.vllm=3", "rollout.vllm: expected dict, found 3"), ("rollout.seed.x=3", "unknown key"),
    ("lr=1", "expected SECTION.KEY=VALUE"), ("train.lr", "expected SECTION.KEY=VALUE"),
    ("trian.lr=1", "did you mean 'train'?"), ("train.lrr=1", "did you mean 'lr'?"),
    ("train.lr=much", "--set train.lr: expected float, found 'much'"),
])
def test_a_setting_that_does_not_exist_is_one_line_and_exit_2(loop: Loop, text: str, message: str) -> None:
    code, out, err = loop("--set", text, "--dry-run")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert message in err


def test_a_run_ends_with_its_results_and_again_with_exit_2(loop: Loop, recipe: Path, tmp_path: Path) -> None:
    code, out, err = loop(recipe)
    assert (code, out) == (0, "")
    assert "step 1/1" in err
    assert f"policy: {tmp_path / 'run' / 'policy' / '000001'}" in err
    code, _, err = loop(recipe)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "holds a run already; --resume continues it" in err


def test_resume_needs_no_recipe_but_the_run_s_own(loop: Loop, recipe: Path, tmp_path: Path) -> None:
    assert loop(recipe, "-q") == (0, "", "")
    assert loop("--resume", "-q", "-o", tmp_path / "run", "--steps", 2) == (0, "", "")
    assert RunFolder(tmp_path / "run").finished_steps() == 2
    assert loop(recipe, "-q", "-o", tmp_path / "other", "--steps", 2) == (0, "", "")
    one, other = contents(tmp_path / "run"), contents(tmp_path / "other")
    assert {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)} == {
        "heldout/after-000001.json"}


def test_resume_with_another_setting_is_exit_2_and_names_it(loop: Loop, recipe: Path, tmp_path: Path) -> None:
    loop(recipe, "-q")
    code, _, err = loop(recipe, "--resume", "--set", "rollout.temperature=0.5")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "rollout.temperature is 0.5, was 1.0" in err


def test_two_loops_on_one_directory_is_exit_2(loop: Loop, recipe: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "run"):
        code, _, err = loop(recipe)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "another loop is at work here" in err


def test_nothing_to_resume_is_exit_2(loop: Loop, tmp_path: Path) -> None:
    code, _, err = loop("--resume", "-o", tmp_path / "nothing")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "recipe.toml: No such file" in err
