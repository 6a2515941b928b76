"""Streams of built-in problems, of every task and split."""

import typing

import pytest

from sparkcli.builtin import PREFIX, TASKS, problems
from sparkcli.builtin.streams import Split


@pytest.mark.parametrize("split", typing.get_args(Split))
@pytest.mark.parametrize("task", TASKS)
def test_a_stream_is_its_seed(task: str, split: Split) -> None:
    def stream(seed: int, limit: int) -> list[object]:
        return list(problems(PREFIX + task, split, seed, limit))

    again = stream(7, 50)
    assert stream(7, 50) == again
    assert stream(7, 20) == again[:20]
    assert stream(8, 50) != again
