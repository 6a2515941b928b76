"""Counts of verdicts, for people and for the gate on unknown ones. Fed while records stream by."""

from collections import Counter, defaultdict

from sparkcli.method.group_kinds import group_kind, has_signal, listed_kinds, outcome_of
from sparkcli.records import Scored


class Summary:
    """What a stream of scored rollouts came to. The samples of a prompt stand next to each other.

    `statuses` are the verdicts by status, `statuses_by_task` the same for each task.
    """

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.statuses_by_task: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._closed_groups: Counter[str] = Counter()
        self._closed_with_signal = 0
        self._rewarded, self._reward_sum, self._unknown = 0, 0.0, 0
        self.unreadable = 0
        """Wrong answers in a notation that their verifier does not know."""
        self._term_sums: defaultdict[str, float] = defaultdict(float)
        self._id: str | None = None
        self._outcomes_G: list[float | None] = []
        self._rewards_G: list[float | None] = []

    def add(self, scored: Scored) -> None:
        """Counts one record."""
        if scored.id != self._id:
            self._close_group()
            self._id = scored.id
        self._outcomes_G.append(outcome_of(scored.reward, scored.terms))
        self._rewards_G.append(scored.reward)
        self.statuses[scored.verdict.status] += 1
        self.statuses_by_task[scored.task][scored.verdict.status] += 1
        self.unreadable += scored.verdict.is_unreadable
        if scored.reward is None:
            self._unknown += 1
            return
        self._rewarded += 1
        self._reward_sum += scored.reward
        for name, value in (scored.terms or {"outcome": scored.reward}).items():
            self._term_sums[name] += value

    @property
    def total(self) -> int:
        """Records counted."""
        return self.statuses.total()

    @property
    def groups(self) -> Counter[str]:
        """Prompts by kind, see `method.group_kinds`; the prompt that is still being fed counts."""
        return self._closed_groups + Counter([] if self._id is None else [group_kind(self._outcomes_G)])

    @property
    def groups_with_signal(self) -> int:
        """Prompts whose samples' rewards differ."""
        return self._closed_with_signal + has_signal(self._rewards_G)

    @property
    def reward_mean(self) -> float | None:
        """Over the records that have a reward; None without any."""
        return self._reward_sum / self._rewarded if self._rewarded else None

    @property
    def error_share(self) -> float:
        """Share of records whose reward is null."""
        return self._unknown / self.total if self.total else 0.0

    def _close_group(self) -> None:
        if self._id is not None:
            self._closed_groups[group_kind(self._outcomes_G)] += 1
            self._closed_with_signal += has_signal(self._rewards_G)
        self._outcomes_G, self._rewards_G = [], []

    def text(self) -> str:
        """A few lines for a terminal; ends without a line break."""
        unreadable = f"; unreadable answers among the wrong: {self.unreadable}" if self.unreadable else ""
        lines = [f"{self.total} verdicts: {_listed(self.statuses)}{unreadable}"]
        if len(self.statuses_by_task) > 1:
            tasks = sorted(self.statuses_by_task.items())
            lines += [f"  {task}: {_listed(counts)}" for task, counts in tasks]
        mean = "none" if self.reward_mean is None else f"{self.reward_mean:.3f}"
        if len(self._term_sums) > 1:
            means = {name: total / self._rewarded for name, total in self._term_sums.items()}
            mean += f" ({', '.join(f'{name} {value:.3f}' for name, value in means.items())})"
        lines.append(f"mean reward {mean}; unknown {self.error_share:.1%}; groups: "
                     f"{listed_kinds(self.groups)}; with a signal: {self.groups_with_signal}")
        return "\n".join(lines)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.most_common()) or "none"
