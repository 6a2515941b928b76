"""What is text of a completion, and what of a prompt says about it."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.models.tiny import byte_tokenizer, load_tiny, write_model

from sparkcli.config import RolloutConfig
from sparkcli.engines.transformers.engine import TransformersEngine
from sparkcli.models.reader import Reader
from sparkcli.records import Prompt, Rollout
from sparkcli.verifiers.registry import load

THINKING = ["<think>", "</think>", "[THINK]", "[/THINK]", "<|channel|>", "<|message|>", "<|end|>"]
"""Markers that some tokenizers have among their special tokens."""


@pytest.fixture(scope="module")
def reader(model_folder: Path) -> Reader:
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": THINKING})
    return replace(load_tiny(model_folder).reader, tokenizer=tokenizer)


def ids(reader: Reader, text: str) -> list[int]:
    found: list[int] = reader.tokenizer(text, add_special_tokens=False)["input_ids"]
    return found


@pytest.mark.parametrize(("sampled", "text"), [
    (r"<think>\boxed{1}</think>So 2.<|im_end|>", r"<think>\boxed{1}</think>So 2."),
    (r"[THINK]\boxed{1}[/THINK]So 2.<|im_end|>", r"[THINK]\boxed{1}[/THINK]So 2."),
    ("<|channel|>analysis<|message|>1<|end|><|im_end|>", "<|channel|>analysis<|message|>1<|end|>"),
    ("2.<|im_end|><|endoftext|><|endoftext|>", "2."),
    ("2.<|im_start|>user", "2.<|im_start|>user"),
    ("2 é 数", "2 é 数"),
])
def test_only_what_ends_or_fills_a_sequence_is_no_text(reader: Reader, sampled: str, text: str) -> None:
    assert reader.texts([ids(reader, sampled)]) == [text]


def test_a_box_in_a_thought_of_special_tokens_earns_nothing(reader: Reader) -> None:
    [completion] = reader.texts([ids(reader, r"<think>It is \boxed{5}.</think>I do not know.<|im_end|>")])
    assert load("math").verify("5", completion).status == "no_answer"


@pytest.mark.parametrize(("prompt", "opens"), [
    ("<|im_start|>assistant\n<think>\n", True),
    ("<|im_start|>assistant\n<think>\n\n</think>\n\n", False),
    ("<|im_start|>assistant\n", False),
    ("<|im_start|>user\nUse <think>.<|im_end|>\n<|im_start|>assistant\n", False),
    ("<|channel|>analysis<|message|>", True),
])
def test_prompts_that_end_within_a_thought(reader: Reader, prompt: str, opens: bool) -> None:
    assert reader.opens_thought(ids(reader, prompt)) is opens


@pytest.mark.parametrize(("ending", "in_thought"), [("<think>\n", True), ("<think>\n\n</think>\n\n", False)])
def test_rollouts_say_that_they_begin_within_a_thought(tmp_path: Path, ending: str, in_thought: bool) -> None:
    policy = load_tiny(write_model(tmp_path / "model"))
    policy.reader.tokenizer.chat_template += "{% if add_generation_prompt %}" + ending + "{% endif %}"
    [group] = TransformersEngine(policy).sample([Prompt(id="x", prompt="2 + 2?")], RolloutConfig(
        samples=2, max_tokens=4))
    assert [isinstance(rollout, Rollout) and rollout.in_thought for rollout in group] == [in_thought] * 2
