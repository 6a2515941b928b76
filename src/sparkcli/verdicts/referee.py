"""Verdicts for a stream of rollouts: in input order, as they come."""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Self

from sparkcli.config import ShapingConfig, VerifyConfig
from sparkcli.errors import InputError, UsageError
from sparkcli.files.jsonl import Skip
from sparkcli.files.stdin import Stdin
from sparkcli.json_values import to_bytes
from sparkcli.method.shaping import shape
from sparkcli.method.thoughts import reply_of
from sparkcli.records import Rollout, Scored, Verdict, extend
from sparkcli.verdicts.pending import Pending, PendingParts, shown
from sparkcli.verdicts.pool import Pool
from sparkcli.verifiers.base import Finding
from sparkcli.verifiers.combine import Combination
from sparkcli.verifiers.registry import Chosen, parse, resolve

_JUDGED = ("judge", "compare")
"""Tasks whose answers are labels."""
_CHOSEN = 4096
"""Verifiers with options that are remembered: each record may bring its own."""
_WINDOW = 1024
"""Rollouts in flight at most: how long one slow check leaves the others at work."""
_WINDOW_CHARACTERS = 32 << 20
"""Characters of completions in flight at most, beyond the first: bounds memory."""


def verify(rollouts: Iterable[Rollout], config: VerifyConfig) -> Iterator[Scored]:
    """Each rollout with its verdict and reward, in input order; streams. See `Referee.verify`."""
    with Referee(config) as referee:
        yield from referee.verify(rollouts)


class Referee:
    """Gives verdicts, with workers that stay warm between calls. A context manager, or `close()`.

    Raises:
        UsageError: the settings name a verifier that does not exist.
    """

    def __init__(self, config: VerifyConfig) -> None:
        self._chosen: dict[bytes, Chosen] = {}
        try:
            self._default = parse(config.verifier)
            resolve(self._default, "--verifier")
        except InputError as error:
            raise UsageError(str(error)) from None
        self._pool = Pool(jobs=config.jobs, seconds=config.timeout, memory=config.memory << 20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers that run now."""
        return self._pool.pids

    def close(self) -> None:
        """Kills the workers; no more verdicts afterwards."""
        self._pool.close()

    def verify(self, rollouts: Iterable[Rollout], source: Stdin | None = None, skip: Skip | None = None
               ) -> Iterator[Scored]:
        """Each rollout with its verdict and reward, in input order; streams, at most 1,024 in flight.

        `source`: where the rollouts come from, if that may be quiet for a while: verdicts do not wait for it.
        `skip`: is handed the errors of rollouts that name no verifier that there is; they are then left out.

        A failed rollout, a missing gold answer, a check that runs out of time or memory or brings two workers
        down: each gives that rollout a status without a reward, and the others go on.

        Raises:
            InputError: a rollout names a verifier or an option that does not exist; after the verdicts before it.
        """
        waiting: deque[tuple[Rollout, Pending | PendingParts]] = deque()
        characters = 0
        try:
            for rollout in rollouts:
                try:
                    pending = self._begin(rollout)
                except InputError as error:
                    if skip is None:
                        raise
                    skip(error)
                    continue
                waiting.append((rollout, pending))
                characters += len(rollout.completion)
                self._pool.pump(wait=False)
                while waiting and (waiting[0][1].finding or len(waiting) >= _WINDOW
                                   or characters > _WINDOW_CHARACTERS or self._made_meanwhile(source, waiting[0][1])):
                    characters -= len(waiting[0][0].completion)
                    yield self._finish(*waiting.popleft())
            yield from self._rest(waiting)
        except InputError:
            yield from self._rest(waiting)  # what came before
            raise
        finally:
            self._pool.forget({id(check) for _, answer in waiting for check in answer.checks})

    def _rest(self, waiting: deque[tuple[Rollout, Pending | PendingParts]]) -> Iterator[Scored]:
        while waiting:
            yield self._finish(*waiting.popleft())

    def explain(self, rollout: Rollout, shaping: ShapingConfig) -> list[str]:
        """How the verdict on one rollout comes about, in lines for people."""
        pending, said = self._begin(rollout), reply_of(rollout)
        started = time.perf_counter()
        scored = shape(self._finish(rollout, pending), shaping)
        seconds = time.perf_counter() - started
        by = "its record" if rollout.verifier else "its task" if rollout.task in _JUDGED else "the settings"
        sum_of = " + ".join(f"{name} {value:g}" for name, value in (scored.terms or {}).items())
        return [f"{rollout.id} sample {rollout.sample}: {scored.verdict.status}",
                f"completion  {len(rollout.completion)} characters, {shown(rollout.completion)}",
                *([] if said == rollout.completion.strip() else [f"said        {shown(said)}, without what was thought "
                                                                 "and the markers of its end"]),
                f"gold        {'none' if rollout.answer is None else shown(rollout.answer)}",
                f"chosen      by {by}", *pending.explained(rollout.answer or ""), f"took        {seconds * 1e3:.1f} ms",
                f"reward      {'null' if scored.reward is None else f'{scored.reward:g}'}"
                f"{f' = {sum_of}' if sum_of else ''}"]

    def _begin(self, rollout: Rollout) -> Pending | PendingParts:
        return self._read(self._chosen_for(rollout), rollout)

    def _chosen_for(self, rollout: Rollout) -> Chosen:
        """The record's own verifier; else `label` for the prompts of a judge; else that of the settings."""
        spec: Any = rollout.verifier or ("label" if rollout.task in _JUDGED else self._default)
        key = to_bytes(spec)
        if key not in self._chosen:
            if len(self._chosen) == _CHOSEN:
                self._chosen.clear()
            self._chosen[key] = resolve(spec, f"prompt {rollout.id!r}")
        return self._chosen[key]

    def _read(self, chosen: Chosen, rollout: Rollout) -> Pending | PendingParts:
        """The answer that was read, and the comparison: decided here, or submitted to a worker (or already)."""
        if isinstance(chosen, Combination):
            return PendingParts(chosen, tuple(self._read(part, rollout) for part in chosen.parts))
        verifier, options = chosen.verifier, chosen.options
        if rollout.finish_reason == "error":
            return Pending(chosen, None, Finding("error", f"nothing was sampled: {rollout.error or 'no reason given'}"))
        if rollout.answer is None and verifier.needs_gold:
            return Pending(chosen, None, Finding("error", "the record has no gold answer"))
        gold = rollout.answer or ""
        said = rollout.completion if verifier.sees_thoughts(options) else reply_of(rollout)
        if not said and rollout.completion.strip():
            return Pending(chosen, None, Finding("no_answer", "nothing was said but a thought"))
        reading = verifier.read(gold, said, options)
        if reading is None:
            return Pending(chosen, None, Finding("no_answer", "no final answer was found"))
        finding = verifier.quick(gold, reading.text, options)
        if finding is None and not verifier.isolated:
            finding = verifier.check(gold, reading.text, options)
        return Pending(chosen, reading, finding or self._pool.submit(chosen, gold, reading.text))

    def _made_meanwhile(self, source: Stdin | None, pending: Pending | PendingParts) -> bool:
        """Whether the finding was made before the source had more to say."""
        while source and source.is_quiet() and pending.finding is None:
            self._pool.pump(wait=True, unless=source.fileno())
        return pending.finding is not None

    def _finish(self, rollout: Rollout, answer: Pending | PendingParts) -> Scored:
        while (finding := answer.finding) is None:
            self._pool.pump(wait=True)
        verdict = Verdict(status=finding.status, extracted=answer.extracted, verifier=answer.name,
                          reason=finding.reason, is_unreadable=finding.is_unreadable)
        return extend(rollout, Scored, verdict=verdict, reward=finding.reward)
