"""How much better than its group a sample is: the advantage of GRPO.

    A_i = (r_i − mean(r)) / (std(r) + 1e-9),   std unbiased (n − 1), over a group's known rewards

Source: DeepSeekMath (arXiv 2402.03300), section 4.1; epsilon and unbiased deviation as in the published
SPARK runs (arXiv 2509.22624).
"""

import math
import statistics
from collections.abc import Sequence

from sparkcli.errors import InputError

EPSILON = 1e-9
_NOISE = 1e-6
"""A spread below this share of the largest reward is rounding (float32 resolves 1.2e-7), not a difference."""


def group_advantages(rewards_G: Sequence[float | None]) -> list[float | None]:
    """Advantages of one group's samples, in their order.

    A null reward says nothing about its sample: it takes no part in mean and deviation, and its advantage is
    None. With fewer than two known rewards, or with equal ones, there is nothing to compare: zeros.

    Raises:
        InputError: a reward is NaN or infinite.

    >>> [a and round(a, 3) for a in group_advantages([1.0, 0.0, None, 1.0, 0.0])]
    [0.866, -0.866, None, 0.866, -0.866]
    """
    known = [reward for reward in rewards_G if reward is not None]
    for reward in known:
        if not math.isfinite(reward):
            raise InputError(f"reward: expected a finite number, found {reward}; unknown is null")
    if len(known) < 2 or is_constant(known):
        return [None if reward is None else 0.0 for reward in rewards_G]
    mean, deviation = statistics.fmean(known), statistics.stdev(known)
    return [None if reward is None else (reward - mean) / (deviation + EPSILON) for reward in rewards_G]


def is_constant(rewards_N: Sequence[float]) -> bool:
    """Whether finite rewards are equal up to rounding, so that a group of them teaches nothing.

    >>> is_constant([0.1 + 0.2, 0.3]), is_constant([0.0, 1.0])
    (True, False)
    """
    if not rewards_N:
        return True
    largest = max(map(abs, rewards_N))
    return max(rewards_N) - min(rewards_N) <= max(EPSILON, _NOISE * largest)
