"""What is held at once, and what happens when memory runs out."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from sparkcli.engines.transformers.budget import Budget, room_within
from sparkcli.engines.transformers.cache import Room
from sparkcli.engines.transformers.rows import Group, Row
from sparkcli.errors import SparkError
from sparkcli.models.sight import text

LIMIT = 50


def groups(*, prompts: int = 20, samples: int = 4, length: int = 10) -> list[Group]:
    return [Group(text([1] * length), [Row(0, LIMIT) for _ in range(samples)]) for _ in range(prompts)]


def end(row: Row) -> None:
    row.token_ids[:] = [1] * LIMIT


@pytest.mark.parametrize("tokens", [100, 500, 1000, 4000, 10**6])
@pytest.mark.parametrize("samples", [1, 4, 7])
def test_room_is_within_the_budget_and_of_whole_groups(tokens: int, samples: int) -> None:
    room = room_within(groups(samples=samples), 64, tokens)
    assert room.held <= tokens
    assert room.rows == 1 or room.rows < samples or room.rows % samples == 0
    assert room.rows <= 64 and room.prompts <= 20


def test_the_rows_asked_for_are_the_rows_in_flight_where_there_is_room() -> None:
    assert room_within(groups(), 64, 10**6) == Room(prompts=20, prompt_tokens=10, rows=64, tokens=LIMIT, prefill=8192)


def test_one_row_always_has_room() -> None:
    assert room_within(groups(), 64, 1).rows == 1


def test_rows_that_were_lost_start_again_in_half_of_the_room() -> None:
    asked = groups()
    rooms: list[Room] = []
    numbers: list[int] = []

    def decode(pending: Sequence[Group], room: Room) -> None:
        rows = [row for group in pending for row in group.rows]
        rooms.append(room)
        numbers.append(len(rows))
        assert not any(row.token_ids for row in rows)
        for row in rows[:30]:
            end(row)
        if room.held > 1000:
            rows[30].token_ids[:] = [1, 2]
            raise MemoryError
        for row in rows[30:]:
            end(row)

    budget = Budget()
    budget.spend(asked, 64, 10**6, decode)
    assert all(len(row.token_ids) == LIMIT for group in asked for row in group.rows)
    assert numbers == [80, 50, 20]
    assert all(smaller.held <= larger.held / 2 for larger, smaller in pairwise(rooms))
    budget.spend(groups(), 64, 10**6, decode)
    assert rooms[3].rows == rooms[2].rows  # what did not fit is not tried again


def test_another_error_is_no_lack_of_memory() -> None:
    def decode(pending: Sequence[Group], room: Room) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        Budget().spend(groups(), 64, 10**6, decode)


def test_a_row_that_does_not_fit_alone_is_said_so() -> None:
    def decode(pending: Sequence[Group], room: Room) -> None:
        raise MemoryError

    with pytest.raises(SparkError, match=r"out of memory with one completion in flight.*--max-tokens"):
        Budget().spend(groups(), 64, 10**6, decode)


@pytest.fixture
def starved(model_folder: Path, repository: Path) -> Callable[[int], tuple[list[list[list[int]]], str]]:
    """Samples in a process that may grow by so many MiB: token ids, and what it warned of."""
    if sys.platform != "linux":
        pytest.skip("address space can be limited on Linux alone")

    def run(mebibytes: int) -> tuple[list[list[list[int]]], str]:
        process = subprocess.run(
            [sys.executable, "-m", "tests.engines.transformers.starved", str(model_folder), str(mebibytes)],
            cwd=repository, env=os.environ, capture_output=True, text=True, timeout=120,
            check=False)
        assert process.returncode == 0, process.stderr
        return json.loads(process.stdout), process.stderr

    return run


def test_memory_that_runs_out_changes_no_stream(
        starved: Callable[[int], tuple[list[list[list[int]]], str]]) -> None:
    expected, nothing = starved(0)
    found, warnings = starved(24)
    assert nothing == ""
    assert "WARNING out of memory with" in warnings and "going on with --batch-tokens" in warnings
    rows = [(one, other) for group, again in zip(expected, found, strict=True)
            for one, other in zip(group, again, strict=True)]
    differing = sum(one != other for one, other in rows)
    assert differing <= 0.003 * len(rows)  # of 460,000 draws one or two fall where the rounding of a batch decides
