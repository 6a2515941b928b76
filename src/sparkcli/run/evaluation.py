"""The held-out evaluations of a run: before, during, after. Items and results are kept in the run directory.

    heldout/solve.jsonl, pointwise.jsonl, pairwise.jsonl, reflection.jsonl, scaling.jsonl     items
    heldout/before.json, heldout/after-000032.json                                             results
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from sparkcli.bench.abilities import abilities
from sparkcli.bench.heldout import HeldOut, held_out
from sparkcli.bench.scaling import scaling
from sparkcli.bench.stages import Stages
from sparkcli.config import PrepareConfig
from sparkcli.engines.base import Engine
from sparkcli.files.jsonl import write_atomic
from sparkcli.method.templates import Templates
from sparkcli.records import Prompt
from sparkcli.run.settings import Settings
from sparkcli.run.state import RunFolder, read_all, write_all
from sparkcli.sources.prepare import prepare
from sparkcli.verifiers.pool import Pool

EVERYTHING = 1_000_000
"""Problems that a source may be asked for; held-out items are taken from it until there are enough."""


@dataclass
class Evaluation:
    """Evaluates whatever policy the engine holds at the moment."""

    settings: Settings
    folder: RunFolder
    engine: Engine
    pool: Pool
    templates: Templates

    def before(self) -> dict[str, Any]:
        """The policy that the run starts from; made once, then read from the run directory."""
        return self._kept("before", lambda: self._measure(self.items, scale=True))

    def during(self) -> dict[str, Any]:
        """The first items of each ability."""
        return self._measure(self.items.cut(self.settings.eval.during), scale=False)

    def after(self, step: int) -> dict[str, Any]:
        """The policy after the last step."""
        return self._kept(f"after-{step:06d}", lambda: self._measure(self.items, scale=True))

    @property
    def stages(self) -> Stages:
        """What the benchmarks work with."""
        return Stages(self.engine.sample, self.pool.verify, self.templates, self.settings.rollout, self.settings.reflect)

    @cached_property
    def items(self) -> HeldOut:
        """The run's items, made from the base policy's answers before the first step."""
        place = self.folder.path / "heldout"
        if not (place / "solve.jsonl").exists():
            made = held_out(self._problems(self.settings.eval.prompts), self.stages, self.settings.eval.limit)
            for name, prompts in reversed(vars(made).items()):  # solve last: where it stands, all stand
                write_all(place / f"{name}.jsonl", prompts)
        return HeldOut(**{name: read_all(place / f"{name}.jsonl", Prompt) for name in vars(HeldOut())})

    @cached_property
    def scaled(self) -> list[Prompt]:
        """The problems of test-time scaling."""
        path = self.folder.path / "heldout" / "scaling.jsonl"
        if not path.exists():
            write_all(path, self._problems(self.settings.eval.scaling, self.settings.eval.scaling_limit))
        return read_all(path, Prompt)

    def _measure(self, items: HeldOut, *, scale: bool) -> dict[str, Any]:
        if not self.settings.eval.prompts:
            return {}
        results = {"abilities": abilities(items, self.stages)}
        if scale and self.settings.eval.scaling:
            results["scaling"] = scaling(self.scaled, self.stages, self.settings.eval.scaling_samples)
        return {part: {name: value.to_json() for name, value in found.items()}
                for part, found in results.items()}

    def _problems(self, source: str, limit: int = EVERYTHING) -> Iterable[Prompt]:
        return prepare(source, PrepareConfig(limit=limit, seed=self.settings.eval.seed)) if source else ()

    def _kept(self, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        path: Path = self.folder.path / "heldout" / f"{name}.json"
        if not path.exists():
            write_atomic(path, orjson.dumps(measure(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        results: dict[str, Any] = orjson.loads(path.read_bytes())
        return results
