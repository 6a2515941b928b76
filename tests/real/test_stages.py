"""Each stage of the method on a real model, and what plain transformers and PEFT say of its results."""

import json
import statistics
from collections import Counter
from collections.abc import Callable
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import pytest
from peft import PeftModel
from tests.commands.conftest import Result
from tests.real.conftest import EXPORTED, SUMS, read_rows, write_rows
from tests.real.forward import greedy, load_plain, logprobs_of
from transformers import AutoTokenizer

pytestmark = pytest.mark.slow
Stage = Callable[..., Result]
Rows = list[dict[str, Any]]
SAMPLES = 8
LOGPROB = 1e-4
"""How far a log-prob may be from a float32 forward pass."""
RATIO = 1e-3
"""How far a ratio of probabilities of one policy may be from 1."""


@pytest.fixture(scope="module")
def rollouts(model: Path, prompts: Path, stage: Stage, work: Path) -> Path:
    stage("rollout", prompts, "-m", model, "-n", SAMPLES, "--max-tokens", "32", "-o", work / "rollouts.jsonl")
    return work / "rollouts.jsonl"


@pytest.fixture(scope="module")
def scored(rollouts: Path, stage: Stage, work: Path) -> Path:
    stage("verify", rollouts, "--jobs", "1", "-o", work / "scored.jsonl")
    return work / "scored.jsonl"


@pytest.fixture(scope="module")
def mixed(scored: Path) -> Rows:
    """The first group with right and wrong answers."""
    groups = [list(group) for _, group in groupby(read_rows(scored), lambda row: row["id"])]
    return next(group for group in groups if len({row["reward"] for row in group}) == 2)


@pytest.fixture(scope="module")
def adapter(model: Path, scored: Path, stage: Stage, work: Path) -> tuple[Path, dict[str, Any]]:
    """A policy with LoRA after four updates, and their metrics."""
    told = stage("train-step", scored, "-m", model, "-o", work / "adapter", "--lr", "5e-4", "--updates", "4")
    return work / "adapter", json.loads(told.out)


@pytest.fixture(scope="module")
def exported(adapter: tuple[Path, dict[str, Any]], stage: Stage) -> Path:
    stage("export", adapter[0], "-o", EXPORTED, "--dtype", "float32")
    return EXPORTED


@pytest.fixture(scope="module")
def plain(model: Path) -> Any:
    return load_plain(model)


def differences(model: Any, rows: Rows) -> list[float]:
    """Of recorded log-probs from the model's."""
    return [abs(own - other) for row, expected in zip(rows, logprobs_of(model, rows), strict=True)
            for own, other in zip(row["logprobs"], expected, strict=True)]


def test_prompts_are_read_as_the_chat_template_has_them(model: Path, rollouts: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = read_rows(rollouts)
    assert len(rows) == SAMPLES * len(SUMS)
    for row in rows[::SAMPLES]:
        expected = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=False)
        assert row["prompt_token_ids"] == expected
    for row in rows:
        assert row["completion"] == tokenizer.decode(row["token_ids"], skip_special_tokens=True)
        assert len(row["token_ids"]) == 32 or row["token_ids"][-1] == tokenizer.eos_token_id


def test_log_probs_are_those_of_a_forward_pass(plain: Any, rollouts: Path) -> None:
    assert max(differences(plain, read_rows(rollouts)[:2 * SAMPLES])) < LOGPROB


def test_greedy_completions_are_those_of_generate(plain: Any, model: Path, prompts: Path, stage: Stage,
                                                  work: Path) -> None:
    some = write_rows(work / "some.jsonl", read_rows(prompts)[:2])
    rows = read_rows(stage("rollout", some, "-m", model, "-n", "1", "--temperature", "0", "--max-tokens", "32").out)
    assert [row["token_ids"] for row in rows] == [greedy(plain, row) for row in rows]


def test_in_bfloat16_prompts_are_shared_and_trained_on_too(model: Path, mixed: Rows, stage: Stage, work: Path) -> None:
    """Its rounding, which 30 layers add up, is not taken for a fault."""
    one = write_rows(work / "rounded.jsonl", [prompt_of(mixed[0])])
    sampled = stage("rollout", one, "-m", model, "--dtype", "bfloat16", "-n", "4", "--max-tokens", "16",
                    "-o", work / "rounded-rollouts.jsonl")
    assert "slower" not in sampled.err
    stage("verify", work / "rounded-rollouts.jsonl", "--jobs", "1", "-o", work / "rounded-scored.jsonl")
    report = json.loads(stage("train-step", work / "rounded-scored.jsonl", "-m", model, "--dtype", "bfloat16",
                              "--probe").out)
    ratio = report["by_policy"]["fresh"]["ratio"]
    assert ratio["mean"] == pytest.approx(1, abs=0.05) and 0.4 < ratio["min"] < ratio["max"] < 2.5


def test_problems_of_gsm8k_go_through(plain: Any, model: Path, stage: Stage, work: Path, shared_data: Path) -> None:
    stage("prepare", shared_data / "gsm8k" / "train_2000.jsonl", "--limit", "3", "-o", work / "gsm8k.jsonl",
          "--instruction", "Put the answer into \\boxed{}.")
    stage("rollout", work / "gsm8k.jsonl", "-m", model, "-n", "2", "--max-tokens", "64", "-o", work / "solved.jsonl")
    rows = read_rows(stage("verify", work / "solved.jsonl", "--jobs", "1").out)
    assert len(rows) == 6 and all(row["reward"] is not None for row in rows)
    assert max(differences(plain, rows)) < LOGPROB


def test_some_sums_are_right_and_some_are_not(scored: Path) -> None:
    rows = read_rows(scored)
    assert {"correct", "wrong"} <= {row["verdict"]["status"] for row in rows} <= {"correct", "wrong", "no_answer"}
    assert 0.02 < statistics.fmean(row["reward"] for row in rows) < 0.6


def test_the_sampler_agrees_with_the_policy(model: Path, scored: Path, stage: Stage) -> None:
    report = json.loads(stage("train-step", scored, "-m", model, "--probe").out)
    ratio = report["by_policy"]["fresh"]["ratio"]
    assert ratio["mean"] == pytest.approx(1, abs=RATIO)
    assert (ratio["min"], ratio["max"]) == pytest.approx((1, 1), abs=RATIO)


def test_an_adapter_learns_what_was_right(adapter: tuple[Path, dict[str, Any]], exported: Path, mixed: Rows) -> None:
    policy, metrics = adapter
    assert (policy / "adapter_model.safetensors").exists()
    assert metrics["updates"] == 4 and metrics["grad_norm"] > 0
    after = logprobs_of(load_plain(exported), mixed)
    gains = {reward: [sum(new) - sum(row["logprobs"]) for row, new in zip(mixed, after, strict=True)
                      if row["reward"] == reward] for reward in (0.0, 1.0)}
    assert statistics.fmean(gains[1.0]) > statistics.fmean(gains[0.0]) + 0.1


def test_the_export_says_what_peft_says(model: Path, adapter: tuple[Path, dict[str, Any]], exported: Path,
                                        mixed: Rows) -> None:
    wrapped = PeftModel.from_pretrained(load_plain(model), adapter[0]).eval()
    ours, theirs = (list(chain.from_iterable(logprobs_of(m, mixed[:2]))) for m in (load_plain(exported), wrapped))
    assert ours == pytest.approx(theirs, abs=LOGPROB)
    tokenizers = [AutoTokenizer.from_pretrained(folder) for folder in (model, exported)]
    assert len({tokenizer.chat_template for tokenizer in tokenizers}) == 1


def test_every_weight_learns_and_the_folder_is_a_model(model: Path, scored: Path, mixed: Rows, stage: Stage,
                                                       work: Path) -> None:
    some = write_rows(work / "mixed.jsonl", mixed)
    told = stage("train-step", some, "-m", model, "-o", work / "full", "--method", "full", "--lr", "1e-6",
                 "--updates", "1")
    metrics = json.loads(told.out)
    assert metrics["ratio"] == pytest.approx(1, abs=RATIO) and metrics["ratio_max"] == pytest.approx(1, abs=RATIO)
    policy = load_plain(work / "full")
    resampled = read_rows(stage("rollout", write_rows(work / "one.jsonl", [prompt_of(mixed[0])]), "-m", model,
                                "--policy", work / "full", "-n", "4", "--max-tokens", "16").out)
    assert max(differences(policy, resampled)) < LOGPROB
    changed = [abs(new - old) for row, logprobs in zip(mixed, logprobs_of(policy, mixed), strict=True)
               for new, old in zip(logprobs, row["logprobs"], strict=True)]
    assert 1e-3 < max(changed) < 2


def test_recycled_prompts_are_sampled_verified_and_trained_on(
        model: Path, adapter: tuple[Path, dict[str, Any]], scored: Path, stage: Stage, work: Path) -> None:
    stage("recycle", scored, "-o", work / "recycled.jsonl")
    recycled = read_rows(work / "recycled.jsonl")
    tasks = Counter(row["task"] for row in recycled)
    assert tasks["reflect"] == len(SUMS) and tasks["judge"] + tasks["compare"] == len(SUMS)
    some = write_rows(work / "some-recycled.jsonl", recycled[:4])
    stage("rollout", some, "-m", model, "--policy", adapter[0], "-n", "4", "--max-tokens", "48",
          "-o", work / "recycled-rollouts.jsonl")
    stage("verify", work / "recycled-rollouts.jsonl", "--jobs", "1", "-o", work / "recycled-scored.jsonl")
    rows = read_rows(work / "recycled-scored.jsonl")
    assert len(rows) == 16 and all(row["reward"] is not None for row in rows)
    stage("train-step", work / "recycled-scored.jsonl", "-m", model, "--policy", adapter[0], "-o", work / "second",
          "--updates", "1")
    assert (work / "second" / "adapter_model.safetensors").exists()


def test_it_judges_answers_and_reflects_on_its_own(model: Path, mixed: Rows, prompts: Path, stage: Stage,
                                                   work: Path) -> None:
    some = write_rows(work / "to-judge.jsonl", mixed)
    judged = read_rows(stage("judge", some, "-m", model, "--max-tokens", "48").out)
    assert len(judged) == len(mixed)
    for row in judged:
        judgement = row["judgement"]
        assert (judgement["status"] == "ok") == (judgement["score"] is not None)
    one = write_rows(work / "to-reflect.jsonl", read_rows(prompts)[:2])
    stage("reflect", one, "-m", model, "--rounds", "1", "--max-tokens", "48", "-o", work / "reflected.jsonl")
    for row in read_rows(work / "reflected.jsonl"):
        kinds = [turn["kind"] for turn in row["trace"]]
        assert kinds[0] == "answer" and set(kinds) <= {"answer", "judge", "reflect"}
    assert read_rows(stage("verify", work / "reflected.jsonl", "--jobs", "1").out)[0]["reward"] is not None


def prompt_of(rollout: dict[str, Any]) -> dict[str, Any]:
    """The prompt that it is a completion of."""
    return {name: rollout[name] for name in ("id", "prompt", "answer")}
