"""The held-out evaluations of a run: before, during, after. Items and results are kept in the run directory.

    heldout/solve.jsonl, pointwise.jsonl, pairwise.jsonl, reflection.jsonl, scaling.jsonl     items
    heldout/before.json, heldout/after-000032.json                                             results
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from sparkcli.bench.abilities import abilities
from sparkcli.bench.heldout import HeldOut, held_out
from sparkcli.bench.scaling import scaling
from sparkcli.bench.stages import Stages
from sparkcli.engines.base import Engine
from sparkcli.files.jsonl import write_atomic
from sparkcli.method.templates import Templates
from sparkcli.records import Prompt
from sparkcli.run.settings import Settings
from sparkcli.run.sources import prompts_from
from sparkcli.run.state import RunFolder, read_all, write_all
from sparkcli.verdicts.referee import Referee


@dataclass
class Evaluation:
    """Evaluates whatever policy the engine holds at the moment."""

    settings: Settings
    folder: RunFolder
    engine: Engine
    referee: Referee
    templates: Templates

    def kept(self, name: str) -> tuple[dict[str, Any], bool]:
        """Results on all items, by part; measured once, then read from `heldout/NAME.json`.

        Returns:
            The results, and whether they were measured now.
        """
        path = self.folder.heldout / f"{name}.json"
        is_new = not path.exists()
        if is_new:
            results = self._measure(self.items, scale=True) if self.settings.eval.prompts else {}
            write_atomic(path, orjson.dumps(results, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        kept: dict[str, Any] = orjson.loads(path.read_bytes())
        return kept, is_new

    def during(self) -> dict[str, Any]:
        """Results on the first items of each ability."""
        items = self.items.cut(self.settings.eval.during)
        return self._measure(items, scale=False) if self.settings.eval.prompts else {}

    @property
    def stages(self) -> Stages:
        """What the benchmarks work with."""
        settings = self.settings
        return Stages(self.engine.sample, self.referee.verify, self.templates, settings.rollout, settings.reflect)

    @cached_property
    def items(self) -> HeldOut:
        """The run's items, made from the base policy's answers before the first step."""
        place = self.folder.heldout
        if not (place / "solve.jsonl").exists():
            made = held_out(self._problems(self.settings.eval.prompts, None), self.stages, self.settings.eval.limit)
            for name, prompts in reversed(vars(made).items()):  # solve last: where it stands, all stand
                write_all(place / f"{name}.jsonl", prompts)
        return HeldOut(**{name: read_all(place / f"{name}.jsonl", Prompt) for name in vars(HeldOut())})

    @cached_property
    def scaled(self) -> list[Prompt]:
        """The problems of test-time scaling."""
        path = self.folder.heldout / "scaling.jsonl"
        if not path.exists():
            write_all(path, self._problems(self.settings.eval.scaling, self.settings.eval.scaling_limit))
        return read_all(path, Prompt)

    def _measure(self, items: HeldOut, *, scale: bool) -> dict[str, Any]:
        results = {"abilities": abilities(items, self.stages)}
        if scale and self.settings.eval.scaling:
            results["scaling"] = scaling(self.scaled, self.stages, self.settings.eval.scaling_samples)
        return {part: {name: value.to_json() for name, value in found.items()}
                for part, found in results.items()}

    def _problems(self, source: str, limit: int | None) -> Iterable[Prompt]:
        return prompts_from(source, self.folder, self.settings, limit=limit, seed=self.settings.eval.seed)
