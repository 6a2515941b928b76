"""Where a setting comes from: flag, then environment, then recipe, then default."""

import json
from pathlib import Path

import pytest
from tests.commands.conftest import Cli


def seeds(cli: Cli, *arguments: str) -> set[int]:
    result = cli("rollout", "prompts.jsonl", "--engine", "scripted", "-n", "1", "-q", *arguments)
    assert (result.code, result.err) == (0, "")
    return {json.loads(line)["sampling"]["seed"] for line in result.out.splitlines()}


@pytest.mark.usefixtures("inputs")
def test_flag_before_environment_before_recipe_before_default(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    assert seeds(cli) == {0}
    assert seeds(cli, "--recipe", "recipe.toml") == {5}
    monkeypatch.setenv("SPARKCLI_ROLLOUT_SEED", "6")
    assert seeds(cli, "--recipe", "recipe.toml") == {6}
    assert seeds(cli, "--recipe", "recipe.toml", "--seed", "7") == {7}


@pytest.mark.usefixtures("inputs")
def test_a_variable_is_read_as_its_setting(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SPARKCLI_MODEL_ENGINE", "scripted")
    monkeypatch.setenv("SPARKCLI_ROLLOUT_SAMPLES", "3")
    monkeypatch.setenv("SPARKCLI_MODEL_POLICY", "")
    assert len(cli("rollout", "prompts.jsonl").out.splitlines()) == 12
    monkeypatch.setenv("SPARKCLI_ROLLOUT_SAMPLES", "three")
    result = cli("rollout", "prompts.jsonl")
    assert (result.code, result.out) == (2, "")
    assert result.err == "sparkcli: SPARKCLI_ROLLOUT_SAMPLES: expected int, found 'three'\n"


@pytest.mark.usefixtures("inputs")
def test_a_switch_that_a_recipe_turned_on_can_be_turned_off(cli: Cli, inputs: Path):
    Path("shuffle.toml").write_text("[prepare]\nshuffle = true\n")
    plain = cli("prepare", "prompts.jsonl").out
    assert cli("prepare", "prompts.jsonl", "--recipe", "shuffle.toml").out != plain
    assert cli("prepare", "prompts.jsonl", "--recipe", "shuffle.toml", "--no-shuffle").out == plain


@pytest.mark.usefixtures("inputs")
def test_sections_of_other_stages_are_checked_and_left_alone(cli: Cli):
    assert cli("recycle", "scored.jsonl", "--recipe", "recipe.toml").code == 0
    assert cli("recycle", "scored.jsonl", "--recipe", "typo.toml").code == 2
