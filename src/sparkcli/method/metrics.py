"""Figures about outcomes: True, False, or None where nothing is known, which takes no part but is counted."""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Proportion:
    """A share of known outcomes with its binomial standard error; both None where nothing is known."""

    accuracy: float | None
    stderr: float | None
    n: int
    unknown: int = 0

    @classmethod
    def from_outcomes(cls, outcomes: Iterable[bool | None]) -> "Proportion":
        """Counts outcomes: stderr = sqrt(p (1 − p) / n).

        >>> Proportion.from_outcomes([True, True, False, False, None])
        Proportion(accuracy=0.5, stderr=0.25, n=4, unknown=1)
        """
        counts = Counter(outcomes)
        n = counts[True] + counts[False]
        if n == 0:
            return cls(None, None, 0, counts[None])
        share = counts[True] / n
        return cls(share, math.sqrt(share * (1 - share) / n), n, counts[None])

    @classmethod
    def from_shares(cls, shares: Iterable[float | None]) -> "Proportion":
        """The mean over problems of the share of right samples, as samples of one problem are not independent.

        stderr = sqrt(Σ (share − mean)²) / n, which for single samples is the binomial one; `n` counts problems.

        >>> Proportion.from_shares([1.0, 0.5, 0.0, 0.5, None])
        Proportion(accuracy=0.5, stderr=0.1767766952966369, n=4, unknown=1)
        """
        listed = list(shares)
        known = [share for share in listed if share is not None]
        if not known:
            return cls(None, None, 0, len(listed))
        mean = math.fsum(known) / len(known)
        spread = math.fsum((share - mean) ** 2 for share in known)
        return cls(mean, math.sqrt(spread) / len(known), len(known), len(listed) - len(known))

    def to_json(self) -> dict[str, Any]:
        """`accuracy`, `stderr` and `n`; `unknown` only where there are such outcomes."""
        values: dict[str, Any] = {"accuracy": self.accuracy, "stderr": self.stderr, "n": self.n}
        return {**values, "unknown": self.unknown} if self.unknown else values


def pass_at_k(outcomes_G: Sequence[bool | None], k: int) -> float | None:
    """Chance that of k samples, drawn without replacement from a group's n known ones, at least one is right.

        1 − C(n − c, k) / C(n, k),   c of n right: the unbiased estimator of Chen et al. (arXiv 2107.03374)

    None where fewer than k outcomes are known.

    >>> pass_at_k([True, False, False, None], 2)
    0.6666666666666667
    """
    known = [outcome for outcome in outcomes_G if outcome is not None]
    if len(known) < k:
        return None
    return 1 - math.comb(known.count(False), k) / math.comb(len(known), k)


def majority(answers_G: Sequence[str | None], key: Callable[[str], Hashable]) -> int | None:
    """Index of the first answer of the most frequent kind; the kind seen first wins a tie; None without answers.

    `key` says which answers are equal, e.g. `answers.spelling`.

    >>> majority(["8", None, "7", "$7$"], key=lambda answer: answer.strip("$"))
    2
    """
    keys = [None if answer is None else (key(answer),) for answer in answers_G]
    counts = Counter(entry for entry in keys if entry is not None)
    return keys.index(counts.most_common(1)[0][0]) if counts else None


def pick(scores_G: Sequence[float | None]) -> int | None:
    """Best of N: index of the first of the highest known scores; None where no score is known.

    >>> pick([None, 0.5, 1.0, 1.0])
    2
    """
    known = [(score, -index) for index, score in enumerate(scores_G) if score is not None]
    return -max(known)[1] if known else None


@dataclass(frozen=True, slots=True)
class JudgeRates:
    """How a judge does on right and on wrong answers, apart: a judge that always says Yes has 1 and 0."""

    true_positive: Proportion
    true_negative: Proportion

    @property
    def balanced(self) -> float | None:
        """Mean of both rates: 0.5 for a judge that does not look, whatever the mixture."""
        rates = self.true_positive.accuracy, self.true_negative.accuracy
        return None if rates[0] is None or rates[1] is None else (rates[0] + rates[1]) / 2


def judge_rates(verdicts: Iterable[tuple[bool | None, bool | None]]) -> JudgeRates:
    """Rates from pairs (the answer is right, the judge says so); an answer of unknown truth takes no part.

    >>> rates = judge_rates([(True, True), (True, None), (False, True), (False, False), (None, True)])
    >>> rates.true_positive.accuracy, rates.true_negative.accuracy, rates.true_positive.unknown
    (1.0, 0.5, 1)
    """
    pairs = list(verdicts)
    return JudgeRates(
        true_positive=Proportion.from_outcomes(said for right, said in pairs if right is True),
        true_negative=Proportion.from_outcomes(_negated(said) for right, said in pairs if right is False))


def _negated(outcome: bool | None) -> bool | None:
    return None if outcome is None else not outcome
