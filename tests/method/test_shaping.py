"""Terms beside the outcome: what they are worth, and that they never speak where the verdict does not."""

import pytest

from sparkcli.config import ShapingConfig
from sparkcli.errors import InputError, UsageError
from sparkcli.method.shaping import overlong, repetition, shape
from sparkcli.records import Sampling, Scored, Verdict

SAMPLING = Sampling(temperature=1.0, top_p=1.0, top_k=0, seed=0, max_tokens=100, engine="x")


def scored(completion: str = "so it is", reward: float | None = 1.0, tokens: int | None = 10,
           **fields: object) -> Scored:
    status = {1.0: "correct", 0.0: "wrong", None: "timeout"}[reward]
    return Scored(**{"id": "p", "prompt": "?", "sample": 0, "samples": 1, "completion": completion, "reward": reward,
                     "token_ids": None if tokens is None else (7,) * tokens, "sampling": SAMPLING,
                     "verdict": Verdict(status=status, verifier="math"), **fields})  # type: ignore[arg-type]


def test_without_weights_the_record_is_what_it_was():
    given = scored()
    assert shape(given, ShapingConfig()) is given


def test_the_reward_is_the_sum_of_the_outcome_and_the_named_terms():
    config = ShapingConfig(overlong_weight=0.5, format_weight=0.25, format_pattern="it", repetition_weight=1.0)
    shaped = shape(scored(tokens=90), config)
    assert shaped.terms == {"outcome": 1.0, "overlong": -0.25, "repetition": 0.0, "format": 0.25}
    assert shaped.reward == 1.0
    assert shaped.verdict == scored().verdict


def test_nothing_is_added_to_a_reward_that_is_unknown():
    shaped = shape(scored(reward=None), ShapingConfig(format_weight=1.0, format_pattern="it"))
    assert shaped.reward is None and shaped.terms is None


@pytest.mark.parametrize(("length", "expected"), [(0, 0.0), (16384, 0.0), (18432, -0.5), (20480, -1.0), (30000, -1.0)])
def test_the_length_penalty_is_that_of_dapo(length: int, expected: float):
    assert overlong(length, limit=20480, buffer=4096) == expected


def test_without_a_buffer_only_the_limit_counts():
    assert [overlong(length, limit=100, buffer=0) for length in (99, 100, 101)] == [0.0, 0.0, -1.0]


@pytest.mark.parametrize(("config", "expected"), [
    (ShapingConfig(overlong_weight=1.0), -0.5),  # max_tokens 100, a fifth of it as the buffer
    (ShapingConfig(overlong_weight=1.0, overlong_limit=90), -1.0),
    (ShapingConfig(overlong_weight=1.0, overlong_buffer=40), -0.75),
    (ShapingConfig(overlong_weight=1.0, overlong_limit=1000), 0.0),
])
def test_limit_and_buffer_have_defaults_of_the_rollout(config: ShapingConfig, expected: float):
    assert shape(scored(tokens=90), config).terms == {"outcome": 1.0, "overlong": expected}


def test_lengths_are_known_from_the_reference_into_a_side_file():
    shaped = shape(scored(tokens=None, tensors="/nowhere.safetensors#0:5,20:110"), ShapingConfig(overlong_weight=1.0))
    assert shaped.terms == {"outcome": 1.0, "overlong": -0.5}


@pytest.mark.parametrize(("fields", "message"), [
    ({"tokens": None}, "rollout 'p' sample 0: token_ids: expected for the length penalty"),
    ({"sampling": None}, "rollout 'p' sample 0: sampling.max_tokens: expected for the length penalty"),
])
def test_a_length_that_is_not_there_is_an_error_and_not_zero(fields: dict[str, object], message: str):
    with pytest.raises(InputError, match=message):
        shape(scored(**fields), ShapingConfig(overlong_weight=1.0))  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "n", "expected"), [
    ("a b c d", 2, 0.0), ("a a a a", 1, -0.75), ("a a a a", 2, 1 / 3 - 1), ("a b", 3, 0.0), ("", 1, 0.0),
    ("x " * 1000, 3, 1 / 998 - 1),
])
def test_repetition(text: str, n: int, expected: float):
    assert repetition(text, n) == pytest.approx(expected)


@pytest.mark.parametrize(("completion", "expected"), [
    (r"<think>hm</think> \boxed{4}", 0.5), ("<think>hm\n\nyes</think>\n\\boxed{4}", 0.5), (r"\boxed{4}", 0.0)])
def test_format(completion: str, expected: float):
    config = ShapingConfig(format_weight=0.5, format_pattern=r"^<think>.+</think>.*\\boxed\{.+\}$")
    assert shape(scored(completion), config).terms == {"outcome": 1.0, "format": expected}


@pytest.mark.parametrize(("completion", "fields", "expected"), [
    (r"<think>\boxed{4}</think> 4", {}, 0.0), (r"<think>hm</think> \boxed{4}", {}, 1.0), (r"<think>\boxed{4}", {}, 0.0),
    (r"\boxed{4}", {"in_thought": True}, 0.0)])
def test_the_form_of_the_reply_is_not_that_of_a_thought(completion: str, fields: dict[str, object], expected: float):
    shaped = shape(scored(completion, **fields), ShapingConfig(format_weight=1.0))
    assert shaped.terms == {"outcome": 1.0, "format": expected}


def test_a_pattern_that_takes_for_ever_leaves_the_reward_unknown():
    config = ShapingConfig(format_weight=1.0, format_pattern=r"^(a|aa|a+)+(a|aa)+$(?<!a)")
    shaped = shape(scored("a" * 40 + "b"), config)
    assert shaped.reward is None
    assert "no answer from the format pattern within 1 s" in (shaped.verdict.reason or "")


def test_a_broken_pattern_is_a_usage_error():
    with pytest.raises(UsageError, match="--format-pattern: not a regular expression"):
        shape(scored(), ShapingConfig(format_weight=1.0, format_pattern="("))
