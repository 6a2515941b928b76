import itertools
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkcli.method.answers import spelling
from sparkcli.method.metrics import JudgeRates, Proportion, judge_rates, majority, pass_at_k, pick


def test_a_proportion_by_hand() -> None:
    found = Proportion.from_outcomes([True] * 9 + [False])
    assert found.accuracy == pytest.approx(0.9) and found.stderr == pytest.approx((0.09 / 10) ** 0.5)
    assert found.to_json() == {"accuracy": found.accuracy, "stderr": found.stderr, "n": 10}


def test_unknown_outcomes_take_no_part_and_are_counted() -> None:
    found = Proportion.from_outcomes([True, None, None])
    assert (found.accuracy, found.n, found.unknown) == (1.0, 1, 2)
    assert found.to_json()["unknown"] == 2
    assert Proportion.from_outcomes([None]) == Proportion(None, None, 0, 1)


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.integers(1, 7))
def test_pass_at_k_is_the_mean_over_all_subsets(outcomes_G: list[bool], k: int) -> None:
    if k > len(outcomes_G):
        assert pass_at_k(outcomes_G, k) is None
    else:
        subsets = [any(subset) for subset in itertools.combinations(outcomes_G, k)]
        assert pass_at_k(outcomes_G, k) == pytest.approx(statistics.fmean(subsets))


def test_pass_at_k_leaves_unknown_outcomes_out() -> None:
    assert pass_at_k([True, None, False], 1) == 0.5
    assert pass_at_k([True, None], 2) is None


@pytest.mark.parametrize(("answers_G", "index"), [
    (["1", "2", "2"], 1),
    (["1", "2"], 0),
    ([None, "2", None, None], 1),
    ([r"\dfrac{1}{2}", "3", r"\frac{1}{2}"], 0),
    ([None], None),
    ([], None),
])
def test_the_most_frequent_answer_wins_and_none_is_no_answer(answers_G: list[str | None], index: int | None) -> None:
    assert majority(answers_G, key=spelling) == index


def test_best_of_n_takes_the_first_of_the_best_known_scores() -> None:
    assert pick([0.1, 0.9, 0.9]) == 1
    assert pick([None, 0.0]) == 1
    assert pick([None]) is None and pick([]) is None


def test_a_judge_who_always_says_yes_is_seen_through() -> None:
    rates: JudgeRates = judge_rates([(True, True)] * 9 + [(False, True)])
    assert (rates.true_positive.accuracy, rates.true_negative.accuracy, rates.balanced) == (1.0, 0.0, 0.5)
    assert judge_rates([(True, True)]).balanced is None
