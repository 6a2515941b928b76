"""Advantages against the formulas, written once more for whole numbers and fractions, and what stands beside them."""

import math
import random
import statistics
from collections.abc import Callable
from fractions import Fraction
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkcli.errors import InputError
from sparkcli.method.advantages import advantages, is_constant
from sparkcli.method.objectives import Advantage

KINDS = get_args(Advantage)
Numbers = list[Fraction]


def _mean(numbers: Numbers) -> Fraction:
    return sum(numbers, Fraction(0)) / len(numbers)


def _deviation(numbers: Numbers) -> float:
    return math.sqrt(sum((x - _mean(numbers)) ** 2 for x in numbers) / (len(numbers) - 1))


BY_HAND: dict[str, Callable[[Numbers, Numbers, int], float]] = {  # the group's, the call's, which of the group
    "group": lambda group, _, i: float(group[i] - _mean(group)) / _deviation(group),
    "mean": lambda group, _, i: float(group[i] - _mean(group)),
    "leave-one-out": lambda group, _, i: float(group[i] - _mean(group[:i] + group[i + 1:])),
    "batch": lambda group, call, i: float(group[i] - _mean(call)) / _deviation(call),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_advantages_are_the_formula(kind: str, seed: int) -> None:
    draw = random.Random(seed)
    exact_PG = [[Fraction(draw.randrange(-8, 9), 4) for _ in range(draw.randint(2, 9))] for _ in range(6)]
    exact_PG = [group for group in exact_PG if len(set(group)) > 1]
    call = [reward for group in exact_PG for reward in group]
    found_PG = advantages([[float(reward) for reward in group] for group in exact_PG], kind)
    expected_PG = [[BY_HAND[kind](group, call, i) for i in range(len(group))] for group in exact_PG]
    for found_G, expected_G in zip(found_PG, expected_PG, strict=True):
        assert found_G == pytest.approx(expected_G, rel=1e-8)  # the epsilon below the fraction is 1e-9


@pytest.mark.parametrize(("kind", "expected"), [
    ("group", [1.5, -0.5, -0.5, -0.5]),  # mean 1/4, unbiased variance (9/16 + 3/16) / 3 = 1/4
    ("mean", [0.75, -0.25, -0.25, -0.25]),
    ("leave-one-out", [1.0, -1 / 3, -1 / 3, -1 / 3]),
    ("batch", [1.5, -0.5, -0.5, -0.5]),  # a call of one group
])
def test_one_right_answer_of_four_by_hand(kind: str, expected: list[float]) -> None:
    assert advantages([[1.0, 0.0, 0.0, 0.0]], kind)[0] == pytest.approx(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_rewards_take_no_part(kind: str) -> None:
    with_unknown = advantages([[1.0, None, 0.0], [None, None], [0.0, 0.0, None, 1.0]], kind)
    without = advantages([[1.0, 0.0], [], [0.0, 0.0, 1.0]], kind)
    assert [[a for a in group if a is not None] for group in with_unknown] == without
    assert with_unknown[0][1] is None and with_unknown[1] == [None, None] and with_unknown[2][2] is None


SHAPED = [0.1 * 3 + 0.7, 0.7 + 0.1 + 0.1 + 0.1, 1.0]
"""1, 1 and 1: an outcome and its terms, added in different orders."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rewards_G", [
    [1.0, 1.0], [0.0, 0.0, 0.0], [0.1 + 0.2, 0.3], [1.0, 1.0 + 1e-7], SHAPED, [0.1 + 0.2 - 0.3, 0.0],
    [-1e6, -1e6 * (1 + 1e-12)], [0.5], []])
def test_what_differs_by_rounding_alone_is_not_compared(kind: str, rewards_G: list[float]) -> None:
    assert advantages([rewards_G], kind) == [[0.0] * len(rewards_G)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rewards_G", [[0.0, 1e-3], [1.0, 0.999], [0.3, 0.1 + 0.2, 1.0]])
def test_small_differences_are_compared(kind: str, rewards_G: list[float]) -> None:
    found = advantages([rewards_G], kind)[0]
    assert all(found) and math.isclose(math.fsum(a for a in found if a), 0.0, abs_tol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_known_reward_is_nothing_to_compare(kind: str) -> None:
    assert advantages([[None, 1.0, None]], kind) == [[None, 0.0, None]]
    assert advantages([[None, None]], kind) == [[None, None]]
    assert advantages([], kind) == []


def test_groups_of_one_are_compared_over_the_batch_and_nowhere_else() -> None:
    assert advantages([[1.0], [0.0]], "batch") == [[pytest.approx(math.sqrt(0.5))], [pytest.approx(-math.sqrt(0.5))]]
    for kind in ("group", "mean", "leave-one-out"):
        assert advantages([[1.0], [0.0]], kind) == [[0.0], [0.0]]


def test_over_the_batch_a_group_of_equal_rewards_teaches() -> None:
    right, wrong = advantages([[1.0, 1.0], [0.0, 0.0]], "batch")
    assert right == pytest.approx([math.sqrt(0.75)] * 2) and wrong == pytest.approx([-math.sqrt(0.75)] * 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf])
def test_a_reward_that_is_no_number_is_refused_and_named(kind: str, reward: float) -> None:
    with pytest.raises(InputError, match=f"group 2, completion 3: reward: expected a finite number, found {reward}"):
        advantages([[0.0, 1.0], [0.0, None, reward]], kind)


REWARDS: Any = st.lists(st.one_of(st.none(), st.sampled_from([0.0, 0.25, 0.5, 1.0])), max_size=12)


@given(REWARDS)
def test_normed_advantages_have_mean_zero_and_deviation_one(rewards_G: list[float | None]) -> None:
    advantages_G = advantages([rewards_G], "group")[0]
    known = [a for a in advantages_G if a is not None]
    assert [a is None for a in advantages_G] == [r is None for r in rewards_G]
    if not is_constant([r for r in rewards_G if r is not None]):
        assert statistics.fmean(known) == pytest.approx(0.0, abs=1e-9)
        assert statistics.stdev(known) == pytest.approx(1.0)


@given(st.lists(REWARDS, max_size=5), st.sampled_from(KINDS))
def test_shape_and_unknowns_are_kept(rewards_PG: list[list[float | None]], kind: str) -> None:
    found_PG = advantages(rewards_PG, kind)
    assert [[a is None for a in group] for group in found_PG] == [[r is None for r in group] for group in rewards_PG]
