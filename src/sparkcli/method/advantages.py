"""How much better than others a completion is. Four ways, one function each, over the known rewards of a call.

    group          (r_i − mean(r)) / (std(r) + 1e-9)     GRPO, arXiv 2402.03300, section 4.1
    mean           r_i − mean(r)                         Dr. GRPO, arXiv 2503.20783, section 3.2
    leave-one-out  r_i − mean(r without r_i)             RLOO, arXiv 2402.14740
    batch          (r_i − mean(R)) / (std(R) + 1e-9)     REINFORCE++, arXiv 2501.03262

r are the rewards of a prompt's completions, R those of the whole call. The deviation is unbiased (n − 1) and the
epsilon is that of the published SPARK runs (arXiv 2509.22624).

A null reward says nothing about its completion: it takes no part, and its advantage is None. Fewer than two known
rewards, or ones that are equal up to rounding, leave nothing to compare: zeros.
"""

import math
import statistics
import types
from collections.abc import Callable, Mapping, Sequence

from sparkcli.errors import InputError

EPSILON = 1e-9
_NOISE = 1e-6
"""A spread below this share of the largest reward is rounding (float32 resolves 1.2e-7), not a difference."""

Rewards = Sequence[float | None]


def advantages(rewards_PG: Sequence[Rewards], kind: str) -> list[list[float | None]]:
    """Advantages of all completions, in the order of their rewards.

    Args:
        rewards_PG: rewards of each of P prompts' completions; groups may differ in size.
        kind: "group", "mean", "leave-one-out" or "batch".

    Raises:
        InputError: a reward is NaN or infinite.

    >>> advantages([[1.0, 0.0, None], [1.0, 1.0]], "leave-one-out")
    [[1.0, -1.0, None], [0.0, 0.0]]
    """
    check_finite(rewards_PG)
    if kind == "batch":
        return over_batch(rewards_PG)
    return [_of_known(rewards_G, _WITHIN_GROUP[kind]) for rewards_G in rewards_PG]


def normed(rewards_N: Sequence[float]) -> list[float]:
    """`(r_i − mean) / (std + 1e-9)` (GRPO)."""
    mean, deviation = statistics.fmean(rewards_N), statistics.stdev(rewards_N)
    return [(reward - mean) / (deviation + EPSILON) for reward in rewards_N]


def centred(rewards_N: Sequence[float]) -> list[float]:
    """`r_i − mean` (Dr. GRPO): what divides by the deviation weighs very easy and very hard prompts up."""
    mean = statistics.fmean(rewards_N)
    return [reward - mean for reward in rewards_N]


def leave_one_out(rewards_N: Sequence[float]) -> list[float]:
    """`r_i − mean of the others` (RLOO), which is `n / (n − 1)` times the centred reward: an unbiased baseline."""
    n = len(rewards_N)
    return [n / (n - 1) * value for value in centred(rewards_N)]


def over_batch(rewards_PG: Sequence[Rewards]) -> list[list[float | None]]:
    """`(r_i − mean) / (std + 1e-9)` over all rewards of the call (REINFORCE++), each completion counted once."""
    values = iter(_of_known([reward for rewards_G in rewards_PG for reward in rewards_G], normed))
    return [[next(values) for _ in rewards_G] for rewards_G in rewards_PG]


_WITHIN_GROUP: Mapping[str, Callable[[Sequence[float]], list[float]]] = types.MappingProxyType(
    {"group": normed, "mean": centred, "leave-one-out": leave_one_out})


def _of_known(rewards_N: Rewards, formula: Callable[[Sequence[float]], list[float]]) -> list[float | None]:
    """`formula` of the rewards that are known, at their places; zeros where there is nothing to compare."""
    known = [reward for reward in rewards_N if reward is not None]
    values = iter([0.0] * len(known) if len(known) < 2 or is_constant(known) else formula(known))
    return [None if reward is None else next(values) for reward in rewards_N]


def is_constant(rewards_N: Sequence[float]) -> bool:
    """Whether finite rewards are equal up to rounding, so that a group of them teaches nothing.

    >>> is_constant([0.1 + 0.2, 0.3]), is_constant([0.0, 1.0])
    (True, False)
    """
    if not rewards_N:
        return True
    largest = max(map(abs, rewards_N))
    return max(rewards_N) - min(rewards_N) <= max(EPSILON, _NOISE * largest)


def check_finite(rewards_PG: Sequence[Rewards]) -> None:
    """Raises InputError for a reward that is no finite number; says where it stands, counted from 1."""
    for p, rewards_G in enumerate(rewards_PG, 1):
        for g, reward in enumerate(rewards_G, 1):
            if reward is not None and not math.isfinite(reward):
                raise InputError(f"group {p}, completion {g}: reward: expected a finite number, found {reward}; "
                                 "unknown is null")
