"""Verdicts for a stream of rollouts: in input order, in killable workers, equal comparisons made once."""

import os
import selectors
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from typing import Any, Self

import orjson

from sparkcli.config import VerifyConfig
from sparkcli.errors import InputError, UsageError
from sparkcli.records import STATUSES_WITH_REWARD, Rollout, Scored, Verdict, extend
from sparkcli.verifiers import resolve
from sparkcli.verifiers.base import Options, Verifier
from sparkcli.verifiers.process import Check, Process, WorkerDiedError

_WINDOW = 1024
"""Rollouts in flight at most: bounds memory, and how long one slow check leaves the others at work."""
_REMEMBERED = 1 << 16
"""Comparisons whose outcome is kept."""
_LONGEST_REMEMBERED = 4096
"""Characters of gold answer and answer together."""
_MOST_DEATHS = 2


def verify(rollouts: Iterable[Rollout], config: VerifyConfig) -> Iterator[Scored]:
    """Each rollout with its verdict and reward, in input order; streams. See `Pool.verify`."""
    with Pool(config) as pool:
        yield from pool.verify(rollouts)


class Pool:
    """Workers that stay warm between calls; none starts before it is needed. A context manager, or `close()`.

    Raises:
        UsageError: the settings name a verifier that does not exist.
    """

    def __init__(self, config: VerifyConfig) -> None:
        self._config = config
        self._jobs = config.jobs or _cores()
        self._specs: dict[bytes, tuple[Verifier, Options]] = {}
        self._checks: OrderedDict[tuple[bytes, str, str], Check] = OrderedDict()
        self._todo: deque[Check] = deque()
        self._processes: list[Process] = []
        self._selector = selectors.DefaultSelector()
        try:
            resolve(config.verifier, "--verifier")
        except InputError as error:
            raise UsageError(str(error)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers that run now."""
        return [process.pid for process in self._processes]

    def close(self) -> None:
        """Kills the workers; the pool cannot be used afterwards."""
        while self._processes:
            self._remove(self._processes[-1])
        self._selector.close()

    def verify(self, rollouts: Iterable[Rollout]) -> Iterator[Scored]:
        """Each rollout with its verdict and reward, in input order; streams, at most 1,024 in flight.

        A failed rollout, a missing gold answer, a check that runs out of time or memory or brings two workers
        down: each gives that rollout a status without a reward, and the others go on.

        Raises:
            InputError: a rollout names a verifier or an option that does not exist.
        """
        waiting: deque[tuple[Rollout, str | None, Check]] = deque()
        try:
            for rollout in rollouts:
                waiting.append((rollout, *self._begin(rollout)))
                self._pump(wait=False)
                while waiting and (waiting[0][2].finding or len(waiting) >= _WINDOW):
                    yield self._finish(*waiting.popleft())
            while waiting:
                yield self._finish(*waiting.popleft())
        finally:
            self._forget_unstarted({id(check) for _, _, check in waiting})

    def _begin(self, rollout: Rollout) -> tuple[str | None, Check]:
        """The answer that was read, and the comparison: decided here, or queued for a worker (or already)."""
        verifier, options, key = self._verifier_of(rollout)
        decided = Check(verifier.name, options, rollout.answer or "", "")
        if rollout.finish_reason == "error":
            decided.finding = "error", f"nothing was sampled: {rollout.error or 'no reason given'}"
            return None, decided
        if rollout.answer is None:
            decided.finding = "error", "the record has no gold answer"
            return None, decided
        answer = verifier.read(rollout.answer, rollout.completion, options)
        if answer is None:
            decided.finding = "no_answer", None
            return None, decided
        decided.finding = verifier.quick(rollout.answer, answer, options)
        if decided.finding is None and not verifier.isolated:
            decided.finding = verifier.check(rollout.answer, answer, options)
        if decided.finding is None:
            return answer, self._queue(Check(verifier.name, options, rollout.answer, answer), key)
        return answer, decided

    def _verifier_of(self, rollout: Rollout) -> tuple[Verifier, Options, bytes]:
        """The record's own verifier; else `label` for the prompts of a judge; else that of the settings."""
        is_judged = rollout.task in ("judge", "compare")
        spec: Any = rollout.verifier or ("label" if is_judged else self._config.verifier)
        key = orjson.dumps(spec, option=orjson.OPT_SORT_KEYS)
        if key not in self._specs:
            self._specs[key] = resolve(spec, f"prompt {rollout.id!r}")
        return *self._specs[key], key

    def _queue(self, check: Check, key: bytes) -> Check:
        """`check`, to be made by a worker; or an equal one that was made or queued before."""
        if len(check.gold) + len(check.answer) > _LONGEST_REMEMBERED:
            self._todo.append(check)
            return check
        triple = key, check.gold, check.answer
        known = self._checks.setdefault(triple, check)
        self._checks.move_to_end(triple)
        if known is check:
            self._todo.append(check)
            if len(self._checks) > _REMEMBERED:
                self._checks.popitem(last=False)
        return known

    def _finish(self, rollout: Rollout, answer: str | None, check: Check) -> Scored:
        while check.finding is None:
            self._pump(wait=True)
        status, reason = check.finding
        verdict = Verdict(status=status, extracted=answer, verifier=check.name, reason=reason)
        return extend(rollout, Scored, verdict=verdict, reward=STATUSES_WITH_REWARD.get(status))

    def _pump(self, *, wait: bool) -> None:
        """Hands out checks, takes in findings, kills what is over its time; may wait for one of them."""
        self._hand_out()
        busy = [process for process in self._processes if process.checks]
        if not busy:
            return
        timeout = max(0.0, min(process.deadline for process in busy) - time.monotonic()) if wait else 0.0
        for key, _ in self._selector.select(timeout):
            self._take(key.fileobj)  # type: ignore[arg-type]
        now = time.monotonic()
        for process in busy:
            if process.checks and process.deadline <= now:
                process.checks.popleft().finding = "timeout", f"no verdict within {self._config.timeout:g} s"
                self._remove(process)
        self._hand_out()

    def _hand_out(self) -> None:
        while self._todo:
            process = self._free_process(self._todo[0])
            if process is None:
                return
            try:
                process.start(self._todo.popleft())
            except WorkerDiedError:
                self._bury(process)

    def _free_process(self, check: Check) -> Process | None:
        """An idle process; a new one while there may be more; else one that takes the check as its next."""
        idle = next((process for process in self._processes if not process.checks), None)
        if idle or len(self._processes) < self._jobs:
            return idle or self._add()
        return next((process for process in self._processes if process.takes(check)), None)

    def _take(self, process: Process) -> None:
        """The findings of a process, or its end."""
        try:
            process.receive()
        except WorkerDiedError:
            self._bury(process)

    def _bury(self, process: Process) -> None:
        """The check under way gets a second process, as the first may have been killed from outside; no third."""
        if process.checks:
            check = process.checks[0]
            check.deaths += 1
            if check.deaths == _MOST_DEATHS:
                check.finding = "error", "the worker process died of it"
                process.checks.popleft()
        self._remove(process)

    def _add(self) -> Process:
        process = Process(self._config.timeout)
        self._processes.append(process)
        self._selector.register(process, selectors.EVENT_READ)
        return process

    def _remove(self, process: Process) -> None:
        """Ends a process; the checks it holds go back to the front of the queue."""
        self._processes.remove(process)
        self._selector.unregister(process)
        process.kill()
        self._todo.extendleft(reversed(process.checks))
        process.checks.clear()

    def _forget_unstarted(self, unread: set[int]) -> None:
        """What was queued for a stream that nobody reads any more."""
        unstarted = unread & set(map(id, self._todo))
        if not unstarted:
            return
        self._todo = deque(check for check in self._todo if id(check) not in unstarted)
        for triple in [triple for triple, check in self._checks.items() if id(check) in unstarted]:
            del self._checks[triple]


def _cores() -> int:
    """Cores that this process may use, where the system tells; else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
