"""The scripted engine's completions can be verified, recycled and trained on."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from sparkcli.config import ModelConfig, RolloutConfig
from sparkcli.engines.scripted import ScriptedEngine
from sparkcli.records import Prompt, Rollout, Task


def boxed(rollout: Rollout) -> str | None:
    found = re.search(r"\\boxed\{(.*)\}\.$", rollout.completion)
    return found.group(1) if found else None


def answers(prompt: Prompt, samples: int = 1000) -> list[str | None]:
    config = RolloutConfig(samples=samples, max_tokens=200)
    (group,) = ScriptedEngine(ModelConfig(engine="scripted")).sample([prompt], config)
    return [boxed(rollout) for rollout in group]


@pytest.mark.parametrize(("answer", "task"), [
    ("42", "solve"), (r"\frac{3}{4}", "solve"), ("C", "solve"), ("Paris", "solve"), ("Yes", "judge"), ("B", "judge"),
    ("A", "compare"), ("-7.5", "reflect"),
])
def test_about_six_in_ten_are_right(answer: str, task: Task) -> None:
    found = answers(Prompt(id="x", prompt="?", answer=answer, task=task))
    assert 0.55 < found.count(answer) / len(found) < 0.65
    assert 0.02 < found.count(None) / len(found) < 0.08


def test_a_wrong_label_is_the_other_one() -> None:
    assert set(answers(Prompt(id="x", prompt="?", answer="Yes", task="judge"))) == {"Yes", "No", None}


def test_a_wrong_fraction_is_a_fraction() -> None:
    found = {answer for answer in answers(Prompt(id="x", prompt="?", answer=r"\frac{3}{4}")) if answer}
    assert all(re.fullmatch(r"\\frac\{\d+\}\{4\}", answer) for answer in found) and len(found) > 5


@pytest.mark.parametrize(("text", "task", "labels"), [
    ("Yes or No?", "judge", {"Yes", "No", None}), ("A: right, B: wrong?", "judge", {"A", "B", None}),
    ("A or B?", "compare", {"A", "B", None}),
])
def test_without_a_gold_answer_it_still_picks_a_label(text: str, task: Task, labels: set[str | None]) -> None:
    assert set(answers(Prompt(id="x", prompt=text, task=task))) == labels


def test_tokens_are_the_bytes_of_the_text_even_where_it_is_cut() -> None:
    prompt = Prompt(id="x", prompt="Wie heißt π?", answer="ππππ")
    engine = ScriptedEngine(ModelConfig(engine="scripted"))
    for limit in range(1, 60):
        (group,) = engine.sample([prompt], RolloutConfig(samples=2, max_tokens=limit))
        for rollout in group:
            assert bytes(rollout.token_ids or ()).decode() == rollout.completion
            assert len(rollout.token_ids or ()) <= limit
    assert bytes(group[0].prompt_token_ids or ()).decode() == prompt.prompt


def test_it_speaks_as_the_policy_it_was_given(policies: dict[str, Path]) -> None:
    prompt = Prompt(id="x", prompt="?", answer="1")
    bare = ScriptedEngine(ModelConfig(name="m", engine="scripted"))
    moved = ScriptedEngine(ModelConfig(name="m", engine="scripted", policy=str(policies["lora"])))
    one, other = (next(iter(e.sample([prompt], RolloutConfig(samples=4)))) for e in (bare, moved))
    assert one[0].policy == "scripted:m" and other[0].policy != one[0].policy
    assert [r.completion for r in one] != [r.completion for r in other]
    assert [replace(r, sampling=None).answer for r in one] == ["1"] * 4
