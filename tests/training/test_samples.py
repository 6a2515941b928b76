"""What training reads of a record, and what it refuses."""

import logging
import math
from collections.abc import Callable

import pytest

from sparkcli.errors import InputError
from sparkcli.records import Sampling, Scored
from sparkcli.training.samples import read_phase

Build = Callable[..., Scored]


def test_every_known_reward_is_read_and_groups_are_counted_by_kind(scored: Build) -> None:
    records = [scored(prompt, n, reward) for prompt, rewards in
               {"right": [1.0, 1.0], "wrong": [0.0, 0.0], "mixed": [1.0, 0.0], "none": [None, None]}.items()
               for n, reward in enumerate(rewards)]
    phase = read_phase(records, 100, "start")
    assert [[sample.id for sample in group] for group in phase.groups] == [["right"] * 2, ["wrong"] * 2, ["mixed"] * 2]
    assert phase.facts["groups"] == {"all_right": 1, "all_wrong": 1, "equal_partial": 0, "mixed": 1, "unknown": 1}
    assert phase.facts["groups_with_signal"] == 1
    assert phase.facts["null_rewards"] == 2


def test_null_rewards_take_no_part(scored: Build) -> None:
    with_null = [scored(sample=0, reward=1.0), scored(sample=1, reward=None, token_ids=None),
                 scored(sample=2, reward=0.0)]
    without = [with_null[0], with_null[2]]
    assert [[s.number for s in group] for group in read_phase(with_null, 100, None).groups] == [[0, 2]]
    assert [[s.number for s in group] for group in read_phase(without, 100, None).groups] == [[0, 2]]


def test_rewards_are_averaged_by_task(scored: Build) -> None:
    records = [scored("a", 0, 1.0), scored("a", 1, 0.0), scored("b", 0, 1.0, task="judge"),
               scored("b", 1, None, task="judge")]
    assert read_phase(records, 100, None).facts["reward"] == {"judge": 1.0, "solve": 0.5}


@pytest.mark.parametrize(("fields", "message"), [
    ({"token_ids": None}, "token_ids: expected for training, missing"),
    ({"logprobs": None}, "logprobs: expected for training, missing"),
    ({"prompt_token_ids": None}, "prompt_token_ids: expected for training, missing"),
    ({"prompt_token_ids": ()}, "prompt_token_ids: expected for training, missing"),
    ({"logprobs": (-1.0,)}, "expected one for each of the 2 token_ids, found 1"),
    ({"token_ids": (8, 100)}, "expected ids below the vocabulary's 100, found 100"),
    ({"prompt_token_ids": (-1, 3)}, "expected ids below the vocabulary's 100, found -1"),
    ({"logprobs": (-1.0, math.nan)}, "logprobs: expected finite numbers"),
    ({"logprobs": (-1.0, -math.inf)}, "logprobs: expected finite numbers"),
    ({"logprobs": (-1.0, -9999.0)}, "logprobs: expected those of tokens that were drawn, found -9999"),
    ({"logprobs": (-1.0, 0.25)}, "logprobs: expected logarithms of probabilities, found 0.25"),
    ({"reward": math.nan}, "reward: expected finite numbers"),
])
def test_unusable_rollouts_are_named(scored: Build, fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=r"prompt 'p', sample 1: ") as caught:
        read_phase([scored(), scored(**{"sample": 1, **fields})], 100, None)  # type: ignore[arg-type]
    assert message in str(caught.value)


@pytest.mark.parametrize("change", [{"top_p": 0.9}, {"top_k": 20}, {"temperature": 0.0}])
def test_sampling_that_biases_the_ratio_is_warned_of_once(
        scored: Build, change: dict[str, float], caplog: pytest.LogCaptureFixture) -> None:
    plain = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "seed": 0, "max_tokens": 8, "engine": "test"}
    sampling = Sampling(**{**plain, **change})  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        phase = read_phase([scored(sample=n, reward=n % 2, sampling=sampling) for n in range(4)], 100, "start")
    assert phase.facts["biased_sampling"] == 4
    assert [record.message.split(" were")[0] for record in caplog.records] == ["4 of 4 rollouts"]
    assert {sample.temperature for sample in phase.groups[0]} == {1.0}


def test_rollouts_of_another_policy_are_stale(scored: Build) -> None:
    phase = read_phase([scored(policy="start"), scored(sample=1, policy="older"), scored(sample=2)], 100, "start")
    assert [sample.stale for sample in phase.groups[0]] == [False, True, False]
    assert phase.facts["stale_policy"] == 1


def test_the_first_stale_rollout_is_refused_by_name_unless_allowed(scored: Build) -> None:
    records = [scored(policy="start"), scored(sample=1, policy="older"), scored(sample=2, policy="oldest")]
    with pytest.raises(InputError, match=r"prompt 'p', sample 1: policy: expected start, .* found older \(2 of 3 .*"
                                         r"--allow-stale"):
        read_phase(records, 100, "start", allow_stale=False)


BARE: dict[str, object] = {"prompt_token_ids": None, "token_ids": None, "logprobs": None}


def test_text_alone_is_refused_with_what_helps(scored: Build) -> None:
    with pytest.raises(InputError, match=r"prompt 'p', sample 1: text alone, as servers .* --score-missing"):
        read_phase([scored(), scored(sample=1, **BARE)], 100, None)


def test_ids_without_log_probs_are_let_in_to_be_scored(scored: Build) -> None:
    """They count as the parent's: neither stale nor of a biased ratio."""
    greedy = Sampling(temperature=0.0, top_p=0.9, top_k=0, seed=0, max_tokens=8, engine="test")
    records = [scored(policy="start"), scored(sample=1, policy="older", logprobs=None, sampling=greedy),
               scored(sample=2, reward=None, **BARE)]
    phase = read_phase(records, 100, "start", allow_stale=False, score_missing=True)
    assert [(s.rescored, s.stale, s.logprobs_T) for s in phase.groups[0]] == [
        (False, False, (-0.5, -0.25)), (True, False, ())]
    assert (phase.facts["scored_missing"], phase.facts["stale_policy"], phase.facts["biased_sampling"]) == (1, 0, 0)


@pytest.mark.parametrize(("fields", "message"), [
    (BARE, "text alone"),
    ({"logprobs": None, "token_ids": (8, 100)}, "token_ids: expected ids below the vocabulary's 100, found 100"),
    ({"logprobs": (-1.0,)}, "logprobs: expected one for each of the 2 token_ids, found 1"),
    ({"logprobs": None, "reward": math.inf}, "reward: expected finite numbers"),
])
def test_what_is_to_be_scored_is_checked_all_the_same(scored: Build, fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_phase([scored(**fields)], 100, None, score_missing=True)
