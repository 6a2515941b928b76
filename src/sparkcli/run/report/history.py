"""What a run directory says of its course, whether the run is finished, at work, or was killed."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from sparkcli.config import SECTIONS
from sparkcli.errors import InputError
from sparkcli.files.jsonl import decode
from sparkcli.files.recipe import read_recipe, write_recipe
from sparkcli.records import Task
from sparkcli.run.report.curves import Panel, Point, Series
from sparkcli.run.state import RunFolder

PHASES = {"policy": "policy update", "recycled": "recycled update"}
MEASURES = {"loss": "Loss", "kl": "KL to the base", "entropy": "Entropy", "grad_norm": "Gradient norm",
            "completion_tokens": "Completion length"}
"""Metrics that each update has, and what the page calls them."""
PARTS = {"abilities": "Held out, greedy", "scaling": "Test-time scaling"}

_EVALUATION = re.compile(r"before|after-(\d+)")


@dataclass(frozen=True)
class Evaluation:
    """Results of one evaluation, after `step` steps; `during` the run on fewer items."""

    step: int
    results: Mapping[str, Any]
    during: bool = False

    @property
    def name(self) -> str:
        """How the page calls it."""
        return f"after step {self.step}" if self.step else "before"


@dataclass(frozen=True)
class History:
    """A run: its settings and all that was measured."""

    path: str
    recipe: dict[str, Any]
    done: int
    metrics: list[dict[str, Any]]
    timings: list[dict[str, Any]]
    evaluations: list[Evaluation]
    seconds: float
    """Of all steps and evaluations."""

    @property
    def steps(self) -> int:
        """That the run is to have."""
        return int(number(self.recipe, "loop", "steps") or 0)

    @property
    def settings(self) -> str:
        """The recipe as it was resolved."""
        return write_recipe(self.recipe)

    @property
    def changed(self) -> list[tuple[str, Any]]:
        """Settings that are not the default, by `section.key`."""
        defaults = {name: vars(cls()) for name, cls in SECTIONS.items()}
        return [(f"{section}.{key}", value) for section, values in self.recipe.items() for key, value in values.items()
                if (section, key) != ("loop", "out") and value != plain(defaults.get(section, {}).get(key))]

    def table(self, part: str) -> list[tuple[str, list[Any]]]:
        """Rows of the results of `part` in the evaluations on all items: a name, and a proportion or None for each."""
        columns = [evaluation.results.get(part) or {} for evaluation in self.whole]
        names = dict.fromkeys(name for column in columns for name in column)
        return [(name, [column.get(name) for column in columns]) for name in names]

    @property
    def whole(self) -> list[Evaluation]:
        """The evaluations on all items: before, and after."""
        return [evaluation for evaluation in self.evaluations if not evaluation.during]

    def panels(self) -> list[Panel]:
        """What is drawn, those that have something to show."""
        drawn = [self._rewards(), self._abilities(), *(self._measure(name) for name in MEASURES),
                 self._line("queue", "Recycled prompts waiting", {"": lambda entry: number(entry, "queue")}),
                 self._seconds()]
        return [panel for panel in drawn if panel.series]

    def _rewards(self) -> Panel:
        def of_task(task: str) -> Callable[[Any], float | None]:
            return lambda entry: first(number(entry, phase, "reward", task) for phase in PHASES)

        return self._line("reward", "Mean reward of the samples", {task: of_task(task) for task in get_args(Task)})

    def _measure(self, name: str) -> Panel:
        def of_phase(phase: str) -> Callable[[Any], float | None]:
            return lambda entry: number(entry, phase, name)

        return self._line(name, MEASURES[name], {told: of_phase(phase) for phase, told in PHASES.items()},
                          "tokens" if name == "completion_tokens" else "")

    def _line(self, name: str, title: str, values: Mapping[str, Callable[[Any], float | None]],
              unit: str = "") -> Panel:
        """Series by name, each with its value of a line of the metrics."""
        series = {told: [Point(number(entry, "step") or 0, value) for entry in self.metrics
                         if (value := of(entry)) is not None] for told, of in values.items()}
        return Panel(name, title, [Series(told, points) for told, points in series.items() if points], unit)

    def _abilities(self) -> Panel:
        found: dict[str, list[Point]] = {}
        for evaluation in self.evaluations:
            for name in evaluation.results.get("abilities") or {}:
                share = number(evaluation.results, "abilities", name, "accuracy")
                spread = number(evaluation.results, "abilities", name, "stderr") or 0.0
                if share is not None:
                    found.setdefault(name, []).append(Point(evaluation.step, 100 * share, 100 * spread))
        series = [Series(readable(name), points) for name, points in found.items()]
        return Panel("abilities", PARTS["abilities"], series, "% right ± standard error")

    def _seconds(self) -> Panel:
        steps = [entry for entry in self.timings if "all" in entry]
        parts = dict.fromkeys(part for entry in steps for part in entry if part not in ("step", "all"))
        series = [Series(part.replace("again-", "recycled "), [
            Point(number(entry, "step") or 0, number(entry, part) or 0.0) for entry in steps]) for part in parts]
        return Panel("seconds", "Time of a step", series, "seconds", stacked=True)


def read_history(folder: RunFolder) -> History:
    """What stands in a run directory; what is not there yet is left out.

    Raises:
        InputError: it is no run, or a file in it is damaged.
    """
    if not folder.recipe.exists():
        raise InputError(f"{folder.path}: is no run, there is no recipe.toml in it; name the directory of a loop, or a "
                         "file of records")
    done = folder.finished_steps()
    metrics = [entry for entry in folder.metrics() if 0 < (number(entry, "step") or 0) <= done]
    during = [Evaluation(entry["step"], entry["eval"], during=True) for entry in metrics if entry.get("eval")]
    evaluations = sorted([*_kept(folder.heldout), *during], key=lambda e: (e.step, not e.during))
    return History(str(folder.path), read_recipe(str(folder.recipe)), done, metrics, folder.timings(), evaluations,
                   folder.seconds())


def _kept(heldout: Path) -> list[Evaluation]:
    """The evaluations on all items."""
    found = []
    for path in heldout.glob("*.json"):
        if match := _EVALUATION.fullmatch(path.stem):
            results = decode(path.read_bytes(), str(path))
            found.append(Evaluation(int(match[1] or 0), results if isinstance(results, dict) else {}))
    return found


def number(value: Any, *names: str) -> float | None:
    """The number under these names in objects within each other; None where there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def first(values: Any) -> float | None:
    """The first that is known."""
    return next((value for value in values if value is not None), None)


def plain(value: Any) -> Any:
    """A default as a recipe holds it."""
    return list(value) if isinstance(value, tuple) else value


def readable(name: str) -> str:
    """A key as words."""
    return name.replace("_", " ")
