"""What is counted of records, by task, while they stream by."""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import get_args

from sparkcli.method.group_kinds import group_kind, has_signal
from sparkcli.method.metrics import Proportion
from sparkcli.records import STATUSES_WITH_REWARD, Status, token_count
from sparkcli.run.report.line import NOT_SAMPLED, Line

VERDICTS = frozenset({*get_args(Status), NOT_SAMPLED})


@dataclass(slots=True)
class TaskFigures:
    """Counts of one task.

    `words` are verdicts; `kinds` are verified groups, and `with_signal` those whose rewards differ, see
    `method.group_kinds`. `tokens` are completion lengths, known ones.
    """

    prompts: int = 0
    samples: int = 0
    words: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    with_signal: int = 0
    finished: Counter[str] = field(default_factory=Counter)
    tokens: Counter[int] = field(default_factory=Counter)
    rewards: list[float] = field(default_factory=list)
    shares: list[float | None] = field(default_factory=list)

    @property
    def accuracy(self) -> Proportion:
        """Mean over prompts of the share of right samples: samples of one prompt are not independent."""
        return Proportion.from_shares(self.shares)

    @property
    def reward(self) -> float | None:
        """Mean of those that are known."""
        return statistics.fmean(self.rewards) if self.rewards else None

    @property
    def lengths(self) -> dict[str, float]:
        """Median, 90 % quantile and longest, in tokens; empty where no record tells."""
        if not self.tokens:
            return {}
        return {"median": quantile(self.tokens, 0.5), "90 % within": quantile(self.tokens, 0.9),
                "longest": max(self.tokens)}


@dataclass(slots=True)
class Figures:
    """Counts of a whole file."""

    kinds: Counter[str] = field(default_factory=Counter)
    tasks: dict[str, TaskFigures] = field(default_factory=dict)
    policies: Counter[str] = field(default_factory=Counter)
    sampling: Counter[str] = field(default_factory=Counter)

    def add(self, line: Line) -> None:
        """Counts a line."""
        self.kinds[line.kind] += 1
        task = self.tasks.setdefault(line.prompt.task, TaskFigures())
        if line.rollout is None:
            return
        task.samples += 1
        task.finished[line.rollout.finish_reason or "not recorded"] += 1
        if line.verdict is not None:
            task.words[line.word or ""] += 1
        if line.reward is not None:
            task.rewards.append(line.reward)
        if line.judgement is not None:
            task.labels[line.judgement.label or line.judgement.status] += 1
        length = token_count(line.rollout)
        if length is not None and line.rollout.finish_reason != "error":
            task.tokens[length] += 1
        self._note_origin(line)

    def end_group(self, task: str, words: Counter[str | None], outcomes_G: Sequence[float | None],
                  rewards_G: Sequence[float | None]) -> None:
        """Counts a prompt by the verdicts on its samples, their outcomes and their rewards."""
        figures = self.tasks[task]
        figures.prompts += 1
        if not any(word in VERDICTS for word in words):
            return
        known = {word: number for word, number in words.items() if word in STATUSES_WITH_REWARD}
        right, total = known.get("correct", 0), sum(known.values())
        figures.shares.append(right / total if total else None)
        figures.kinds[group_kind(outcomes_G)] += 1
        figures.with_signal += has_signal(rewards_G)

    @property
    def total(self) -> TaskFigures:
        """All tasks together."""
        whole = TaskFigures()
        for figures in self.tasks.values():
            whole.prompts += figures.prompts
            whole.samples += figures.samples
            whole.with_signal += figures.with_signal
            for name in ("words", "labels", "kinds", "finished", "tokens"):
                getattr(whole, name).update(getattr(figures, name))
            whole.rewards += figures.rewards
            whole.shares += figures.shares
        return whole

    def _note_origin(self, line: Line) -> None:
        rollout = line.rollout
        if rollout is None or rollout.finish_reason == "error":
            return
        if rollout.policy:
            self.policies[rollout.policy] += 1
        if drawn := rollout.sampling:
            self.sampling[f"{drawn.engine}, temperature {drawn.temperature:g}, top-p {drawn.top_p:g}, top-k "
                          f"{drawn.top_k}, at most {drawn.max_tokens} tokens, seed {drawn.seed}"] += 1


def quantile(counts: Counter[int], share: float) -> int:
    """The smallest value that at least `share` of the counted ones do not exceed.

    >>> quantile(Counter({3: 1, 5: 1, 9: 2}), 0.5)
    5
    """
    wanted, seen = share * counts.total(), 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= wanted:
            return value
    raise ValueError("no counts")


def listed(counts: Counter[str], names: Iterable[str] = ()) -> list[tuple[str, int]]:
    """Counts that are not 0: those of `names` in their order, then the others, most frequent first."""
    first = [name for name in names if counts[name]]
    return [(name, counts[name]) for name in first] + [pair for pair in counts.most_common() if pair[0] not in first]
