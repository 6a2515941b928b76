"""The pages that `--help` prints."""

import re
from dataclasses import fields

import pytest
from tests.commands.conftest import Cli

from sparkcli.commands.main import COMMANDS
from sparkcli.config import (
    JudgeConfig,
    ModelConfig,
    PrepareConfig,
    RecycleConfig,
    ReflectConfig,
    ReportConfig,
    RolloutConfig,
    ServeConfig,
    ShapingConfig,
    TrainConfig,
    VerifyConfig,
    flag_names,
)
from sparkcli.method.objectives import OBJECTIVES
from sparkcli.verifiers.registry import COMBINATIONS, NAMES

SETTINGS = {
    "prepare": [PrepareConfig],
    "rollout": [ModelConfig, RolloutConfig],
    "verify": [VerifyConfig, ShapingConfig],
    "recycle": [RecycleConfig],
    "train-step": [ModelConfig, TrainConfig],
    "judge": [ModelConfig, JudgeConfig],
    "reflect": [ModelConfig, ReflectConfig],
    "bench run": [ModelConfig, RolloutConfig],
    "serve": [ModelConfig, ServeConfig],
    "loop": [],
    "report": [ReportConfig],
    "export": [],
    "schema": [],
    "doctor": [],
}
PAGES = ["", "bench", "bench list", *SETTINGS]


def page(cli: Cli, command: str) -> str:
    result = cli(*command.split(), "--help")
    assert (result.code, result.err) == (0, "")
    return result.out


@pytest.mark.parametrize("columns", ["80", "200"])
@pytest.mark.parametrize("command", PAGES)
def test_pages_are_not_wide(command: str, columns: str, cli: Cli, monkeypatch: pytest.MonkeyPatch):
    """At most 110 columns on a wide terminal. Only examples, which are there to be copied, are never broken."""
    monkeypatch.setenv("COLUMNS", columns)
    lines = [line for line in page(cli, command).splitlines() if not line.startswith("      sparkcli ")]
    assert max(map(len, lines)) <= min(110, int(columns))


@pytest.mark.parametrize("command", SETTINGS)
def test_every_flag_is_there_with_its_help_and_default(command: str, cli: Cli):
    words = " ".join(page(cli, command).split())
    for cls in SETTINGS[command]:
        for field in fields(cls):
            assert flag_names(field)[-1] in words
            assert field.metadata["help"].replace("-", "") in words.replace("- ", "").replace("-", "")
            if type(field.default) in (int, float, str) and field.default != "":
                assert f"[{field.default}]" in words


@pytest.mark.parametrize("command", SETTINGS)
def test_flags_that_every_command_has(command: str, cli: Cli):
    words = page(cli, command)
    assert all(flag in words for flag in ("-q, --quiet", "-v, --verbose", "-h, --help"))
    assert ("--recipe" in words) == bool(SETTINGS[command])


@pytest.mark.parametrize("command", COMMANDS)
def test_the_summary_is_one_sentence_the_same_in_list_and_page(command: str, cli: Cli):
    summary = COMMANDS[command]
    assert re.search(rf"^  {command} +{re.escape(summary)}$", page(cli, ""), re.MULTILINE)
    assert page(cli, command).splitlines()[2].strip() == summary
    assert summary.endswith(".") and len(summary) <= 65


@pytest.mark.parametrize("command", [name for name in SETTINGS if name != "doctor"])
def test_every_page_has_an_example(command: str, cli: Cli):
    assert re.search(rf"^      sparkcli .*{command}", page(cli, command), re.MULTILINE)


def test_no_arguments_is_help(cli: Cli):
    assert cli().out == page(cli, "")


def test_verify_names_every_verifier(cli: Cli):
    words = cli("verify", "--help").out.replace(",", " ").replace(";", " ").split()
    assert {*NAMES, *COMBINATIONS} <= set(words)


def test_train_step_tells_what_each_loss_is(cli: Cli):
    lines = [line.split(maxsplit=1) for line in page(cli, "train-step").splitlines() if line.startswith("      ")]
    told = {words[0]: words[1] for words in lines if len(words) == 2}
    assert {name: told.get(name) for name in OBJECTIVES} == {name: loss.about for name, loss in OBJECTIVES.items()}
