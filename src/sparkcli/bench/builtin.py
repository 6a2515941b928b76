"""The benchmark on a built-in task: five abilities on the standard tier, test-time scaling on the hard tier."""

from collections.abc import Iterable
from typing import Any

from sparkcli.bench.abilities import abilities
from sparkcli.bench.heldout import HeldOut
from sparkcli.bench.scaling import scaling
from sparkcli.bench.stages import Stages
from sparkcli.builtin import PREFIX, problems
from sparkcli.records import Prompt

ITEMS = 512
"""Items per ability."""
HARD_PROBLEMS = 256
"""Problems of test-time scaling."""
PROBLEMS = 100_000
"""Standard problems to make items from, at most; far fewer are drawn."""


def standard(name: str) -> Iterable[Prompt]:
    """Held-out problems of the task's standard tier."""
    return problems(PREFIX + name, "test", 0, PROBLEMS)


def run(name: str, items: HeldOut, stages: Stages, limit: int | None) -> dict[str, dict[str, Any]]:
    """Accuracies by part and name; `limit` cuts the items and problems of each."""
    hard = list(problems(PREFIX + name, "hard", 0, min(limit or HARD_PROBLEMS, HARD_PROBLEMS)))
    found = {"abilities": abilities(items, stages), "scaling": scaling(hard, stages, stages.sampling.samples)}
    return {part: {name: value.to_json() for name, value in values.items()} for part, values in found.items()}
