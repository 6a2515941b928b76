"""Progress bars, colour and silence, on a terminal and off it; completion of words in shells."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from tests.commands.conftest import INPUTS, Cli

PROGRAM = [sys.executable, "-c", "from sparkcli.commands.main import main; main()"]
ROLLOUT = ["rollout", str(INPUTS / "prompts.jsonl"), "--engine", "scripted", "-n", "2"]
SAID = "8 completions for 4 prompts\r\n"


def on_terminal(*arguments: str, stdout: int = subprocess.DEVNULL, **variables: str) -> str:
    """What a terminal at standard error receives."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "", **variables}
    if not environment["NO_COLOR"]:
        del environment["NO_COLOR"]
    with subprocess.Popen([*PROGRAM, *arguments], stdin=subprocess.DEVNULL, stdout=stdout, stderr=theirs,
                          env=environment) as process:
        os.close(theirs)
        received = b""
        while block := _read(ours):
            received += block
        if process.stdout:
            process.stdout.read()
    os.close(ours)
    assert process.returncode == 0
    return received.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # how Linux tells that the other side was closed
        return b""


def test_a_bar_on_a_terminal_that_goes_away():
    received = on_terminal(*ROLLOUT, NO_COLOR="")
    assert "8/?" in received and "\x1b[38;5;" in received
    assert received.endswith(f"\x1b[2K{SAID}")


def test_no_colour_where_it_is_not_wanted():
    received = on_terminal(*ROLLOUT, NO_COLOR="1")
    assert "8/?" in received and "\x1b[38;5;" not in received


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"TERM": "dumb", "NO_COLOR": "1"}])
def test_no_bar_on_a_dumb_terminal(variables: dict[str, str]):
    assert on_terminal(*ROLLOUT, **variables) == SAID


def test_no_bar_into_the_middle_of_a_pipeline():
    """The last command of a pipeline has the terminal for its own bar."""
    assert on_terminal(*ROLLOUT, stdout=subprocess.PIPE) == SAID


def test_quiet_is_silent():
    assert on_terminal(*ROLLOUT, "-q") == ""


def test_no_bar_off_a_terminal(cli: Cli):
    assert cli(*ROLLOUT).err == SAID.replace("\r\n", "\n")


def test_quiet_still_tells_errors(cli: Cli, tmp_path: Path):
    result = cli("verify", "-q", tmp_path / "nowhere.jsonl")
    assert result.code == 3 and result.err.endswith("nowhere.jsonl: No such file or directory\n")


@pytest.mark.parametrize(("words", "expected"), [
    ("sparkcli re", ["recycle", "reflect", "report"]),
    ("sparkcli rollout --temp", ["--temperature"]),
    ("sparkcli bench ", ["list", "run"]),
])
def test_shell_completion(words: str, expected: list[str]):
    environment = {**os.environ, "_SPARKCLI_COMPLETE": "complete_bash", "COMP_WORDS": words,
                   "COMP_CWORD": str(words.count(" "))}
    ran = subprocess.run(PROGRAM, env=environment, capture_output=True, text=True, check=True)
    assert (ran.stdout.split(), ran.stderr) == (expected, "")
