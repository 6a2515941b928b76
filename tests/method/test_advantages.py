import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkcli.errors import InputError
from sparkcli.method.advantages import group_advantages, is_constant


def test_one_right_answer_of_four_by_hand() -> None:
    # mean 1/4, unbiased variance (9/16 + 3/16) / 3 = 1/4, deviation 1/2
    assert group_advantages([1.0, 0.0, 0.0, 0.0]) == pytest.approx([1.5, -0.5, -0.5, -0.5])


def test_unknown_rewards_take_no_part() -> None:
    with_unknown = group_advantages([1.0, None, 0.0, 0.0, None, 0.0])
    assert [a for a in with_unknown if a is not None] == group_advantages([1.0, 0.0, 0.0, 0.0])
    assert with_unknown[1] is None and with_unknown[4] is None


@pytest.mark.parametrize("rewards_G", [
    [1.0, 1.0], [0.0, 0.0, 0.0], [0.1 + 0.2, 0.3], [1.0, 1.0 + 1e-7], [0.5], [],
])
def test_groups_with_nothing_to_compare_are_zeros(rewards_G: list[float]) -> None:
    assert group_advantages(rewards_G) == [0.0] * len(rewards_G)


def test_a_single_known_reward_is_nothing_to_compare() -> None:
    assert group_advantages([None, 1.0, None]) == [None, 0.0, None]
    assert group_advantages([None, None]) == [None, None]


@pytest.mark.parametrize("reward", [math.nan, math.inf])
def test_a_reward_that_is_no_number_is_refused(reward: float) -> None:
    with pytest.raises(InputError, match="finite"):
        group_advantages([0.0, reward])


@given(st.lists(st.one_of(st.none(), st.sampled_from([0.0, 0.25, 0.5, 1.0])), max_size=12))
def test_advantages_have_mean_zero_and_deviation_one(rewards_G: list[float | None]) -> None:
    advantages_G = group_advantages(rewards_G)
    known = [a for a in advantages_G if a is not None]
    assert [a is None for a in advantages_G] == [r is None for r in rewards_G]
    if not is_constant([r for r in rewards_G if r is not None]):
        assert statistics.fmean(known) == pytest.approx(0.0, abs=1e-9)
        assert statistics.stdev(known) == pytest.approx(1.0)
