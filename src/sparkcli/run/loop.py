"""The loop: the same functions as the pipeline's stages, with the model loaded once.

    prompts ─ rollout ─ verify ─┬─ train                          (policy update)
                                └─ recycle ─▶ queue ─ rollout ─ verify ─ train   (recycled update, once enough wait)
"""

import contextlib
import itertools
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from sparkcli.config import PrepareConfig
from sparkcli.engines import open_engine
from sparkcli.engines.base import Engine
from sparkcli.errors import GateError, UsageError
from sparkcli.files.templates import read_templates
from sparkcli.method.recycle import recycle
from sparkcli.method.templates import Templates
from sparkcli.models.policy import Policy, load
from sparkcli.records import Prompt, Scored, groups
from sparkcli.run.evaluation import Evaluation
from sparkcli.run.settings import Settings, keep_recipe
from sparkcli.run.state import RunFolder, locked, read_all, write_all
from sparkcli.sources.prepare import prepare
from sparkcli.training.step import Trainer
from sparkcli.verifiers.pool import Pool


class Watcher(Protocol):
    """Who is told how a run goes."""

    def step(self, metrics: dict[str, Any], seconds: float) -> None:
        """A step is done."""

    def evaluated(self, when: str, results: dict[str, Any]) -> None:
        """An evaluation is done: "before", "after" or "step N"."""


def run(settings: Settings, watcher: Watcher, *, resume: bool) -> dict[str, Any]:
    """Runs the loop in `settings.loop.out`; returns what stands in `summary.json`.

    Raises:
        UsageError: the directory holds a run and `resume` is off, or another loop works there.
        GateError: more verdicts than allowed say nothing about the answer.
    """
    folder = RunFolder(Path(settings.loop.out))
    with locked(folder.path):
        if folder.recipe.exists() and not resume:
            raise UsageError(f"{folder.path}: holds a run already; --resume continues it, or choose another -o")
        keep_recipe(folder, settings)
        done = folder.finished_steps()
        _clean(folder, done)
        with opened(settings, folder, watcher) as loop:
            return loop.run(done)


@contextlib.contextmanager
def opened(settings: Settings, folder: RunFolder, watcher: Watcher) -> Iterator["Loop"]:
    """The loop with its model loaded and its workers at hand."""
    done = folder.finished_steps()
    prompts = _prompts(folder, settings)
    last = folder.policy(done)
    policy = load(replace(settings.model, policy=str(last)) if last else settings.model)
    templates = Templates.from_tables(read_templates(_path(settings.recycle.templates)))
    with contextlib.closing(open_engine(settings.model, policy)) as engine, Pool(settings.verify) as pool:
        engine.load_policy(last or _path(settings.model.policy))
        yield Loop(settings, folder, watcher, prompts, policy, Trainer(policy, settings.train), engine, pool, templates)


@dataclass
class Loop:
    """A run at work. Step k draws everything from seed + k."""

    settings: Settings
    folder: RunFolder
    watcher: Watcher
    prompts: Sequence[Prompt]
    policy: Policy
    trainer: Trainer
    engine: Engine
    pool: Pool
    templates: Templates
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, done: int) -> dict[str, Any]:
        """Steps `done` + 1 to the last, between two evaluations; returns the summary."""
        started = time.monotonic()
        evaluation = Evaluation(self.settings, self.folder, self.engine, self.pool, self.templates)
        before = evaluation.before()
        self.watcher.evaluated("before", before)
        queue = self.folder.queue(done)
        for number in range(done + 1, self.settings.loop.steps + 1):
            queue = self._step(number, queue, evaluation)
        after = evaluation.after(self.settings.loop.steps)
        self.watcher.evaluated("after", after)
        summary = {"before": before.get("abilities"), "after": after.get("abilities"),
                   "scaling": {"before": before.get("scaling"), "after": after.get("scaling")},
                   "seconds": round(time.monotonic() - started, 1), "steps": self.settings.loop.steps,
                   "updates": self.trainer.updates, "policy": str(self.folder.policy(self.settings.loop.steps))}
        self.folder.write_summary(summary)
        return summary

    def _step(self, number: int, queue: list[Prompt], evaluation: Evaluation) -> list[Prompt]:
        started = time.monotonic()
        self.seconds = {}
        settings, place = self.settings, self.folder.step(number)
        place.mkdir(parents=True)
        seed = settings.loop.seed + number

        scored = self._sampled(self._batch(number), place, "", seed)
        metrics: dict[str, Any] = {"policy": self._trained(scored, "train")}
        if settings.loop.recycle:
            fresh, report = recycle(groups(scored), replace(settings.recycle, seed=seed), self.templates)
            write_all(place / "recycled.jsonl", fresh)
            metrics["recycle"] = report.to_json()
            waiting = {prompt.id for prompt in queue}  # the same answer of the same prompt may come again in a later pass
            queue += [prompt for prompt in fresh if prompt.id not in waiting]
        size = settings.loop.queue_batch
        if settings.loop.recycle and len(queue) >= size:
            batch, queue = queue[:size], queue[size:]
            self._save(place / "policy")
            again = self._sampled(batch, place, "again-", seed)
            metrics["recycled"] = self._trained(again, "again-train")
        self._save(self.folder.policy(number))
        shutil.rmtree(place / "policy", ignore_errors=True)
        metrics["queue"] = len(queue)
        write_all(place / "queue.jsonl", queue)
        if settings.eval.every and number % settings.eval.every == 0:
            metrics["eval"] = evaluation.during()
            self.watcher.evaluated(f"step {number}", metrics["eval"])
        self.folder.finish_step(number, metrics, {**self.seconds, "all": time.monotonic() - started})
        self.folder.prune(number, settings.loop.keep)
        self.watcher.step({"step": number, **metrics}, time.monotonic() - started)
        return queue

    def _batch(self, number: int) -> list[Prompt]:
        """The prompts of a step: the next in file order, from the start again at the end."""
        size = self.settings.loop.prompts_per_step
        first = (number - 1) * size
        return [self.prompts[i % len(self.prompts)] for i in range(first, first + size)]

    def _sampled(self, prompts: Sequence[Prompt], place: Path, prefix: str, seed: int) -> list[Scored]:
        """Rollouts and verdicts, written as the pipeline writes them."""
        with self._timed(f"{prefix}rollout"):
            rollouts = list(itertools.chain.from_iterable(
                self.engine.sample(prompts, replace(self.settings.rollout, seed=seed))))
            write_all(place / f"{prefix}rollouts.jsonl", rollouts)
        with self._timed(f"{prefix}verify"):
            scored = list(self.pool.verify(rollouts))
            write_all(place / f"{prefix}scored.jsonl", scored)
        self._check_error_share(scored)
        return scored

    def _check_error_share(self, scored: Sequence[Scored]) -> None:
        unknown = [s for s in scored if s.reward is None]
        if len(unknown) > self.settings.verify.max_error_share * len(scored):
            raise GateError(f"{len(unknown)} of {len(scored)} verdicts say nothing about the answer (verify."
                            f"max_error_share); the first, of prompt {unknown[0].id!r}: {unknown[0].verdict.reason}")

    def _trained(self, scored: Sequence[Scored], name: str) -> dict[str, Any]:
        """One phase of updates, in memory; its metrics without what the clock says."""
        with self._timed(name):
            metrics = self.trainer.step(scored)
        del metrics["seconds"]
        return metrics

    def _save(self, directory: Path) -> None:
        """Writes the policy; the engine samples it from now on."""
        with self._timed("save"):
            self.trainer.save(directory)
            self.engine.load_policy(directory)

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - started, 4)


def _clean(folder: RunFolder, done: int) -> None:
    """Removes what a killed run left unfinished: temporary files, and the folders of the step under way."""
    for parent in (folder.path, folder.path / "steps", folder.path / "policy", folder.path / "heldout"):
        parent.mkdir(exist_ok=True)
        for entry in parent.iterdir():
            if entry.name.startswith(".") or (entry.name.isdigit() and int(entry.name) > done):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _prompts(folder: RunFolder, settings: Settings) -> list[Prompt]:
    """The training prompts, copied into the run at its start."""
    if not folder.prompts.exists():
        wanted = settings.loop.steps * settings.loop.prompts_per_step
        config = PrepareConfig(limit=wanted, seed=settings.loop.seed)
        write_all(folder.prompts, prepare(settings.loop.prompts, config))
    return read_all(folder.prompts, Prompt)


def _path(name: str | None) -> Path | None:
    return Path(name) if name else None
