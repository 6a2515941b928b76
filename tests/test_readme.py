"""The README tells the truth: what it names is there, and what is there it names."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sparkcli.commands.main import COMMANDS

BENCHMARKS = sorted(p.name for p in (Path(__file__).parent / "benchmarks").glob("*.py") if p.name != "common.py")


@pytest.fixture(scope="module")
def readme(repository: Path) -> str:
    return (repository / "README.md").read_text()


def test_every_command_is_listed(readme: str) -> None:
    listed = re.findall(r"^\| `([a-z-]+)", readme, re.MULTILINE) + re.findall(r"`(doctor)`", readme)
    assert set(COMMANDS) <= set(listed)


def test_every_room_is_on_the_map(readme: str, repository: Path) -> None:
    rooms = {p.name for p in (repository / "src" / "sparkcli").iterdir() if p.is_dir() and p.name[0] not in "._"}
    assert {room.strip("/") for room in re.findall(r"^      ([a-z]+/) ", readme, re.MULTILINE)} == rooms


def test_every_benchmark_is_listed_and_every_file_named_exists(readme: str, repository: Path) -> None:
    assert set(BENCHMARKS) <= set(re.findall(r"`([a-z_]+\.py)`", readme))
    for path in re.findall(r"`((?:recipes|tests|\.ci)/[\w./-]+\.\w+)`", readme):
        assert (repository / path).exists(), path


def test_nothing_was_left_to_fill_in(readme: str) -> None:
    assert "<<" not in readme


@pytest.mark.parametrize("script", BENCHMARKS)
def test_every_benchmark_writes_its_figures_where_it_is_told(script: str, repository: Path) -> None:
    command = [sys.executable, str(repository / "tests" / "benchmarks" / script), "--help"]
    assert "--json FILE" in subprocess.run(command, check=True, capture_output=True, text=True).stdout
