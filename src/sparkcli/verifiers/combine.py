"""Several verifiers for one completion. Unknown stays unknown, unless the others decide without it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from sparkcli.records import Status
from sparkcli.verifiers.base import Finding

T = TypeVar("T")
Kind = Literal["all", "any", "weighted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination(Generic[T]):
    """`all` and `any` of the parts, or their `weighted` mean; `weights` are positive, one a part."""

    kind: Kind
    parts: tuple[T, ...]
    weights: tuple[float, ...]


def combined(kind: Kind, findings: Sequence[Finding], weights: Sequence[float], names: Sequence[str]) -> Finding:
    """One finding from those of the parts, whose `names` the reason gives.

    `all`: one answer that is not right decides. `any`: one right answer decides. `weighted`: the mean of the
    parts' rewards as the score, `correct` only where every part is. What is not decided by a known part takes
    the status of the first unknown one.
    """
    reason = "; ".join(f"{name}: {finding.status}, {finding.reason}"
                       for name, finding in zip(names, findings, strict=True))
    is_unreadable = any(finding.is_unreadable for finding in findings)
    known = [finding for finding in findings if finding.reward is not None]
    is_right = [finding.status == "correct" for finding in known]
    if kind == "any" and any(is_right):
        return Finding("correct", reason)
    if kind == "all" and not all(is_right):
        return Finding(_failure(known), reason, is_unreadable=is_unreadable)
    if len(known) < len(findings):
        return Finding(next(finding.status for finding in findings if finding.reward is None), reason)
    status = "correct" if all(is_right) else _failure(known)
    if kind != "weighted":
        return Finding(status, reason, is_unreadable=is_unreadable)
    mean = sum(w * (f.reward or 0.0) for w, f in zip(weights, findings, strict=True)) / sum(weights)
    return Finding(status, reason, mean, is_unreadable)


def _failure(findings: Sequence[Finding]) -> Status:
    """Why not everything is right: `no_answer` only where no part has read one."""
    failed = {finding.status for finding in findings} - {"correct"}
    return "no_answer" if failed == {"no_answer"} else "wrong"

