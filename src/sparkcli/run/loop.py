"""The loop: the same functions as the pipeline's stages, with the model loaded once.

    prompts ─ rollout ─ verify ─┬─ train                          (policy update)
                                └─ recycle ─▶ queue ─ rollout ─ verify ─ train   (recycled update, once enough wait)

`recipes/spark.sh` is the same with a process per stage; both give the same bytes.
"""

import contextlib
import itertools
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from sparkcli.config import RolloutConfig
from sparkcli.engines import open_engine
from sparkcli.engines.base import Engine
from sparkcli.errors import GateError, UsageError
from sparkcli.files.jsonl import write_atomic
from sparkcli.files.recipe import write_recipe
from sparkcli.files.templates import read_templates
from sparkcli.method.recycle import recycle
from sparkcli.method.shaping import shape
from sparkcli.method.templates import Templates
from sparkcli.models.policy import load
from sparkcli.records import Prompt, Scored, groups, token_count
from sparkcli.run.beginning import begin
from sparkcli.run.evaluation import Evaluation
from sparkcli.run.settings import Settings
from sparkcli.run.sources import check_sources
from sparkcli.run.state import RunFolder, locked, write_all
from sparkcli.training.metrics import MACHINE
from sparkcli.training.step import Trainer
from sparkcli.verdicts.referee import Referee


class Watcher(Protocol):
    """Who is told how a run goes."""

    def begins(self, what: str) -> None:
        """What the run is busy with from now on."""

    def samples_with(self, engine: str, why: str) -> None:
        """Which engine samples, and why it is that one."""

    def step(self, metrics: dict[str, Any], seconds: float) -> None:
        """A step is done."""

    def evaluated(self, when: str, results: dict[str, Any]) -> None:
        """An evaluation is done: "before", "after" or "step N"."""

    def finished(self, summary: dict[str, Any]) -> None:
        """The run is done."""


def run(settings: Settings, watcher: Watcher, *, resume: bool) -> dict[str, Any]:
    """Runs the loop in `settings.loop.out`; returns what stands in `summary.json`.

    What is wrong with settings, prompts or model is found before the directory becomes a run.

    Raises:
        UsageError: the directory holds a run and `resume` is off, or holds something else, or another loop works
            there; a run cannot be continued with these settings; there are too few prompts; the engine cannot be
            given the policies that the run trains.
        GateError: more verdicts than allowed say nothing about the answer. `resume` tries that step again.
    """
    folder = RunFolder(Path(settings.loop.out))
    folder.check_free_or_run()
    with locked(folder.path):
        settings, prompts, why = begin(folder, settings, resume=resume)
        check_sources(folder, settings)
        if why:
            watcher.samples_with(settings.model.engine, why)
        with opened(settings, folder, watcher, prompts) as loop:
            write_atomic(folder.recipe, write_recipe(settings.sections()).encode())
            write_all(folder.prompts, prompts)
            folder.tidy(settings.loop.keep)
            return loop.run()


@contextlib.contextmanager
def opened(settings: Settings, folder: RunFolder, watcher: Watcher, prompts: Sequence[Prompt]) -> Iterator["Loop"]:
    """The loop behind its last finished step, with the model loaded and workers at hand."""
    done = folder.finished_steps()
    last = folder.policy(done)
    watcher.begins("loading the model")
    model = replace(settings.model, policy=str(last)) if last else settings.model
    policy = load(model)
    templates = Templates.from_tables(read_templates(settings.recycle.templates))
    opening = open_engine(model, settings.rollout, settings.server, policy=policy, trained=settings.train)
    with contextlib.closing(opening) as engine, Referee(settings.verify) as referee:
        engine.load_policy(Path(model.policy) if model.policy else None)  # a server may hold what another run left
        if model.engine == "openai" and not settings.train.score_missing:
            check_trainable(engine, prompts[0], settings.rollout)
        trainer = Trainer(policy, settings.of_step(done + 1).train)
        yield Loop(settings, folder, watcher, prompts, trainer, engine, referee, templates)


def check_trainable(engine: Engine, prompt: Prompt, config: RolloutConfig) -> None:
    """Samples one token, so that what a server does not tell is known before hours of evaluation and sampling.

    Raises:
        UsageError: its samples have no token ids or log-probs.
    """
    (trial,), = engine.sample([prompt], replace(config, samples=1, max_tokens=1))
    if trial.error is None and (trial.token_ids is None or trial.logprobs is None):
        raise UsageError("the server tells no token ids or no log-probs of what it samples so, and training needs "
                         "them; start it with `sparkcli serve`, or set train.score_missing = true")


@dataclass
class Loop:
    """A run at work."""

    settings: Settings
    folder: RunFolder
    watcher: Watcher
    prompts: Sequence[Prompt]
    trainer: Trainer
    engine: Engine
    referee: Referee
    templates: Templates
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self) -> dict[str, Any]:
        """The steps that are left, between two evaluations; returns the summary."""
        done, steps = self.folder.finished_steps(), self.settings.loop.steps
        evaluation = Evaluation(self.settings, self.folder, self.engine, self.referee, self.templates)
        before = self._evaluated("before", 0, evaluation)
        queue = self.folder.queue(done)
        for number in range(done + 1, steps + 1):
            queue = self._step(number, queue, evaluation)
        after = self._evaluated("after", steps, evaluation)
        summary = {"before": before.get("abilities"), "after": after.get("abilities"),
                   "scaling": {"before": before.get("scaling"), "after": after.get("scaling")},
                   "seconds": round(self.folder.seconds(), 1), "steps": steps, "updates": self.trainer.updates,
                   "policy": str(self.folder.policy(steps))}
        self.folder.write_summary(summary)
        self.watcher.finished(summary)
        return summary

    def _evaluated(self, when: str, step: int, evaluation: Evaluation) -> dict[str, Any]:
        """The results of an evaluation before or after the steps."""
        self.watcher.begins(f"evaluation {when}")
        started = time.monotonic()
        results, is_new = evaluation.kept(f"{when}-{step:06d}" if step else when)
        if is_new:
            self.folder.note_evaluation(when, step, round(time.monotonic() - started, 2))
        self.watcher.evaluated(when, results)
        return results

    def _step(self, number: int, queue: Sequence[Prompt], evaluation: Evaluation) -> list[Prompt]:
        """One step, from the queue that the last one left; returns the queue that this one leaves."""
        started = time.monotonic()
        self.seconds = {}
        self.folder.step(number).mkdir()
        metrics, waiting = self._updated(number, queue)
        write_all(self.folder.step(number) / "queue.jsonl", waiting)
        if self.settings.eval.every and number % self.settings.eval.every == 0:
            with self._part("evaluation"):
                metrics["eval"] = evaluation.during()
            self.watcher.evaluated(f"step {number}", metrics["eval"])
        self.folder.finish_step(number, metrics, {**self.seconds, "all": round(time.monotonic() - started, 4)})
        self.folder.prune(number, self.settings.loop.keep)
        self.watcher.step({"step": number, **metrics}, time.monotonic() - started)
        return waiting

    def _updated(self, number: int, queue: Sequence[Prompt]) -> tuple[dict[str, Any], list[Prompt]]:
        """The step's policy update and, if enough recycled prompts wait, its recycled update.

        Returns:
            The metrics, and the prompts that go on waiting.
        """
        settings, place = self.settings.of_step(number), self.folder.step(number)
        policy = self.folder.policy(number)
        assert policy is not None, "steps count from 1"
        self.trainer.config = settings.train
        scored = self._sampled(self._batch(number), settings, place, "")
        metrics: dict[str, Any] = {"policy": self._trained(scored, "train")}
        waiting = list(queue)
        size = settings.loop.queue_batch
        if settings.loop.recycle:
            fresh, report = recycle(groups(scored), settings.recycle, self.templates)
            write_all(place / "recycled.jsonl", fresh)
            metrics["recycle"] = report.to_json()
            waiting += fresh
        if len(waiting) >= size:
            batch, waiting = waiting[:size], waiting[size:]
            self._save(place / "policy")
            again = self._sampled(batch, settings, place, "again-")
            metrics["recycled"] = self._trained(again, "again-train")
        self._save(policy)
        if (place / "policy").exists():  # until now an engine or a server may have had to read it once more
            shutil.rmtree(place / "policy")
        return {**metrics, "queue": len(waiting)}, waiting

    def _batch(self, number: int) -> list[Prompt]:
        """The prompts of a step: the next in file order, from the start again at the end."""
        size = self.settings.loop.prompts_per_step
        first = (number - 1) * size
        return [self.prompts[i % len(self.prompts)] for i in range(first, first + size)]

    def _sampled(self, prompts: Sequence[Prompt], settings: Settings, place: Path, prefix: str) -> list[Scored]:
        """Rollouts and verdicts, written as the pipeline writes them."""
        with self._part(f"{prefix}rollout"):
            rollouts = list(itertools.chain.from_iterable(self.engine.sample(prompts, settings.rollout)))
        with self._part(f"{prefix}verify"):
            scored = [shape(s, settings.shaping) for s in self.referee.verify(rollouts)]
        with self._part("write"):
            write_all(place / f"{prefix}rollouts.jsonl", rollouts)
            write_all(place / f"{prefix}scored.jsonl", scored)
        self._check_error_share(scored)
        return scored

    def _check_error_share(self, scored: Sequence[Scored]) -> None:
        unknown = [s for s in scored if s.reward is None]
        allowed = self.settings.verify.max_error_share
        if len(unknown) > allowed * len(scored):
            raise GateError(f"{len(unknown)} of {len(scored)} verdicts say nothing about the answer; allowed: "
                            f"{allowed:.1%} (verify.max_error_share); the first, of prompt {unknown[0].id!r}: "
                            f"{unknown[0].verdict.reason or unknown[0].verdict.status}")

    def _trained(self, scored: Sequence[Scored], name: str) -> dict[str, Any]:
        """One phase of updates, in memory; its metrics without what the clock and the machine say, and with the mean
        length of the completions."""
        with self._part(name):
            self.engine.rest()
            metrics = self.trainer.step(scored)
        lengths = [length for rollout in scored if (length := token_count(rollout)) is not None]
        metrics["completion_tokens"] = sum(lengths) / len(lengths) if lengths else None
        return {name: value for name, value in metrics.items() if name not in MACHINE}

    def _save(self, directory: Path) -> None:
        """Writes the policy; the engine samples it from now on. One that shares the trainer's memory reads nothing."""
        with self._part("save"):
            self.trainer.save(directory)
            self.engine.load_policy(directory)

    @contextlib.contextmanager
    def _part(self, name: str) -> Iterator[None]:
        """Tells the watcher, and adds up the time."""
        self.watcher.begins(name)
        started = time.monotonic()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - started, 4)
