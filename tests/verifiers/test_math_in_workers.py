"""math-verify itself, in real workers: a hostile answer, and the verdicts of the authors of real rollouts."""

import json
from pathlib import Path

import pytest

from sparkcli.config import VerifyConfig
from sparkcli.records import Rollout
from sparkcli.verdicts.referee import verify

TIME_OF_DAY = r"\text{4:30 p.m.}"
"""The one gold answer on which we differ: the authors call 4:30 p.m. wrong where only `p.m.` is set as text."""


def rollout(gold: str, completion: str) -> Rollout:
    return Rollout(id="1", prompt="?", answer=gold, sample=0, samples=1, completion=completion)


def test_hostile_answers_cost_the_others_nothing():
    answers = ["9^{9^{9^{9}}}", "100000000!", "\x00", "\ud800", "{" * 1000, "7" * 100_000, r"\frac{1}{" * 10_000]
    rollouts = [rollout(r"\frac{x}{2}", rf"\boxed{{{answer}}}") for answer in answers]
    rollouts.insert(3, rollout("x^2", r"\boxed{x x}"))
    statuses = [scored.verdict.status for scored in verify(rollouts, VerifyConfig(jobs=2, timeout=10.0))]
    assert statuses == ["error", "error", "wrong", "correct", "wrong", "no_answer", "error", "no_answer"]


def test_agrees_with_the_authors_on_real_rollouts(shared_data: Path):
    text = (shared_data / "math/qwen_math_rollouts_50x8.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    rollouts = [rollout(row["answer"], code) for row in rows for code in row["code"]]
    rewards = [scored.reward for scored in verify(rollouts, VerifyConfig(timeout=30.0))]
    expected = [float(score or row["answer"] == TIME_OF_DAY) for row in rows for score in row["score"]]
    assert rewards == expected
    assert len(rewards) == 400


@pytest.mark.parametrize("verifier", ["math", "number"])
def test_agrees_with_the_authors_on_solutions_of_four_models(shared_data: Path, verifier: str):
    text = (shared_data / "gsm8k/model_solutions_600.jsonl").read_text(encoding="utf-8")
    models = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
    samples = [(row["ground_truth"].rpartition("A: ")[2], row[model])
               for row in map(json.loads, text.splitlines()) for model in models]
    rollouts = [rollout(gold, sample["solution"]) for gold, sample in samples]
    rewards = [scored.reward for scored in verify(rollouts, VerifyConfig(verifier=verifier, timeout=30.0))]
    assert rewards == [float(sample["is_correct"]) for _, sample in samples]
    assert len(rewards) == 2400
