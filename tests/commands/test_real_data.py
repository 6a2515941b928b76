"""Real files through the commands, as a user would pipe them."""

import json
from pathlib import Path

import pytest
from tests.commands.conftest import Cli

PREPARED = {
    "gsm8k/model_solutions_600.jsonl": 600,
    "gsm8k/test.jsonl": 1319,
    "gsm8k/train_2000.jsonl": 2000,
    "math/aime24.jsonl": 30,
    "math/amc23.jsonl": 40,
    "math/minerva.jsonl": 272,
    "math/olympiadbench.jsonl": 675,
    "math/qwen_math_rollouts_50x8.jsonl": 50,
}


def rows(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(("name", "count"), PREPARED.items())
def test_prepare_reads_it(name: str, count: int, cli: Cli, shared_data: Path):
    result = cli("prepare", shared_data / name)
    assert result.code == 0, result.err
    prompts = rows(result.out)
    assert len(prompts) == count == len({prompt["id"] for prompt in prompts})
    assert all(prompt["prompt"] and prompt["answer"] for prompt in prompts)
    layout, total = result.err.splitlines()
    assert f"{Path(name).name}: layout " in layout and total == f"{count} prompts"


@pytest.fixture(scope="module")
def rollouts(shared_data: Path) -> str:
    """The 50 × 8 real solutions as rollouts; each carries the authors' own verdict as `score`."""
    questions = rows((shared_data / "math" / "qwen_math_rollouts_50x8.jsonl").read_text(encoding="utf-8"))
    return "".join(json.dumps({"id": f"q{question['idx']}", "prompt": question["question"], "answer": question["gt"],
                               "sample": sample, "samples": len(question["code"]), "completion": code,
                               "score": score}) + "\n"
                   for question in questions
                   for sample, (code, score) in enumerate(zip(question["code"], question["score"], strict=True)))


def test_verify_agrees_with_the_authors_on_all_400(cli: Cli, rollouts: str):
    result = cli("verify", stdin=rollouts)
    assert result.code == 0
    scored = rows(result.out)
    assert len(scored) == 400
    assert [(s["id"], s["sample"]) for s in scored if (s["verdict"]["status"] == "correct") is not s["score"]] == []
    assert result.err.startswith("400 verdicts: ")


def test_recycled_prompts_verify_when_they_are_answered_correctly(cli: Cli, rollouts: str):
    recycled = rows(cli("recycle", stdin=cli("verify", stdin=rollouts).out).out)
    assert {prompt["task"] for prompt in recycled} == {"judge", "compare", "reflect"}
    assert len(recycled) >= 50
    answered = "".join(json.dumps({**prompt, "sample": 0, "samples": 1,
                                   "completion": f"My working. \\boxed{{{prompt['answer']}}}"}) + "\n"
                       for prompt in recycled)
    again = rows(cli("verify", stdin=answered).out)
    assert [s["id"] for s in again if s["verdict"]["status"] != "correct"] == []
    assert len(again) == len(recycled)
