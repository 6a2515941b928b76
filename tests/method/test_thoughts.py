r"""What is thought and what is said, in the ways that models have to tell them apart."""

import time

import pytest

from sparkcli.method.answers import final_answer
from sparkcli.method.thoughts import opens_thought, reply, reply_of
from sparkcli.records import Rollout
from sparkcli.verifiers.registry import load

PAIRS = [
    ("<think>", "</think>"), ("<THINK>", "</THINK>"), ("<thinking>", "</thinking>"), ("<thought>", "</thought>"),
    ("<Thought>", "</Thought>"), ("<thoughts>", "</thoughts>"), ("<reasoning>", "</reasoning>"),
    ("<scratchpad>", "</scratchpad>"), ("<inner_monologue>", "</inner_monologue>"), ("<|think|>", "<|/think|>"),
    ("<seed:think>", "</seed:think>"), ("<mm:think>", "</mm:think>"), ("<ifm|think_fast>", "</ifm|think_fast>"),
    ("<think:6124c78e>", "</think:6124c78e>"), ("<longcat_think>", "</longcat_think>"),
    ("[THINK]", "[/THINK]"), ("[REASONING]", "[/REASONING]"), ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"), ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|plamo:begin_think:plamo|>", "<|plamo:end_think:plamo|>"), ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|open|>think<|sep|>", "<|close|>think<|sep|>"), ("<unused94>thought\n", "<unused95>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<analysis>", "</analysis>"), ("<reflection>", "</reflection>"),
]
HARMONY = ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>")
MESSAGES = [
    HARMONY, ("<|channel|>commentary to=python <|constrain|>json<|message|>", "<|call|>"),
    ("<|channel|>analysis<|message|>", "<|start|>assistant<|channel|>final <|constrain|>json<|message|>"),
    ("to=self<|message|>", "<|eom|>to=user<|message|>"),
    ("<|message_model|><|content_thinking|>", "<|end_message|><|message_model|><|content_text|>"),
]
WORDS = [("analysisWe see: ", "assistantfinal"), ("Here is my thought process: ", "Here is my response: ")]
VERIFIERS = [("math", "5", {}), ("number", "5", {}), ("exact", "5", {}), ("label", "Yes", {}), ("choice", "B", {}),
             ("regex", "[5B]|Yes", {"where": "completion"}), ("json", "", {}), ("code", "assert f() == 5", {}),
             ("instruction", "", {"instruction_id_list": ["punctuation:no_comma"]})]
ANSWERS = {"math": r"\boxed{5}", "number": r"\boxed{5}", "exact": r"\boxed{5}", "label": r"\boxed{Yes}",
           "choice": r"\boxed{B}", "regex": r"\boxed{5}", "json": '```json\n{"a": 1}\n```',
           "code": "```python\ndef f(): return 5\n```", "instruction": "No comma here."}


@pytest.mark.parametrize(("begin", "end"), PAIRS + MESSAGES + WORDS)
def test_what_is_said_comes_after_the_thought(begin: str, end: str) -> None:
    assert reply(f"{begin}it may be \\boxed{{1}}{end}\n\nIt is 2.") == "It is 2."
    assert reply(f"{begin}it may be \\boxed{{1}}{end}") == ""


@pytest.mark.parametrize(("begin", "end"), PAIRS + MESSAGES + WORDS[:1])
def test_a_thought_without_an_end_takes_all_the_rest(begin: str, end: str) -> None:
    assert reply(f"{begin}it may be \\boxed{{1}}") == ""
    if not begin.startswith("analysis"):
        assert reply(f"It is 2.{begin}Or \\boxed{{1}}?") == "It is 2."


@pytest.mark.parametrize(("begin", "end"), PAIRS)
def test_the_end_of_a_thought_that_the_prompt_has_begun(begin: str, end: str) -> None:
    assert reply(f"It may be \\boxed{{1}}{end}It is 2.") == "It is 2."


@pytest.mark.parametrize(("completion", "said"), [
    ("<think>a</think>b<think>c</think>d", "b\nd"),
    ("<think>a<think>b</think>c</think>d", "d"),
    ("<think>a</thinking>b", ""),
    ("<thinking>a</think>b</thinking>c", "c"),
    ("a</think>b</think>c", "c"),
    ("<think>\n\n</think>\n\nb", "b"),
    ("\n\n    return b\n", "    return b"),
    ("<think>a</think>\n    return b<|im_end|>", "    return b"),
    (" b", "b"),
    ("I think, and <b>this</b> is my reasoning: [1, 2]", "I think, and <b>this</b> is my reasoning: [1, 2]"),
    ("An analysis of the channel", "An analysis of the channel"),
    ("I think <output>5</output> is HTML", "I think <output>5</output> is HTML"),
    ("Here's my thought process: 1, so 2", "Here's my thought process: 1, so 2"),
    ("<think>a</think><response>b</response>", "b"),
    ("<|begin_of_thought|>a<|end_of_thought|><|begin_of_solution|>b<|end_of_solution|>", "b"),
    ("<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>b<|END_RESPONSE|>", "b"),
    ("<Thought>a</Thought>\n<Output>b</Output>", "b"),
    ("<|channel|>final<|message|>b<|return|>", "b"),
    ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>analysis<|message|>\\boxed{5}", ""),
    ("", ""),
])
def test_several_thoughts_none_and_what_stands_around_the_reply(completion: str, said: str) -> None:
    assert reply(completion) == said


@pytest.mark.parametrize("end", [
    "</s>", "<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|im_end|>\n<|endoftext|>", "<end_of_turn>", "<eos>",
    "<|end|>", "<｜end▁of▁sentence｜>", "<|END_OF_TURN_TOKEN|>", "</s></s></s>", "<|return|>", "[/INST]", "<turn|>",
    "<pad>" * 100, "<|im_end|>\n<|im_start|>user\nThe answer is 8?", "</s><s>[INST] The answer is 8?",
    "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nThe answer is 8?"])
def test_markers_of_the_end_and_later_turns_are_not_said(end: str) -> None:
    assert reply(f"The answer is 7.{end}") == "The answer is 7."
    assert final_answer(f"The answer is 7.{end}") == "7"


def test_what_begins_within_a_thought_has_no_answer_before_its_end() -> None:
    completions = r"So \boxed{5}", r"\boxed{5}</think>No.", "[/THINK]No.", "<think>a"
    said = [reply(text, in_thought=True) for text in completions]
    assert said == ["", "No.", "No.", ""]


@pytest.mark.parametrize(("prompt", "opens"), [
    ("<|assistant|><think>\n", True), ("[THINK]", True), ("<|start|>assistant<|channel|>analysis<|message|>", True),
    ("<think>\n\n</think>\n\n", False), ("Think!", False), ("What does <think> mean?", False), ("", False)])
def test_prompts_that_end_within_a_thought(prompt: str, opens: bool) -> None:
    assert opens_thought(prompt) is opens


@pytest.mark.parametrize(("prompt", "in_thought", "said"), [
    ("2 + 3?", False, r"It is \boxed{5}"),
    ("2 + 3?", True, ""),
    ("<|im_start|>assistant\n<think>\n", False, ""),
    ([{"role": "user", "content": "Write <think>"}], False, r"It is \boxed{5}"),
    ([{"role": "assistant", "content": "<think>\nLet me see."}], False, ""),
    ([{"role": "assistant", "content": [{"type": "text", "text": "<think>\nLet me see."}]}], False, ""),
    ([{"role": "assistant", "content": "<think>a</think>So"}], False, r"It is \boxed{5}"),
])
def test_rollouts_whose_prompt_or_record_says_that_they_begin_within_a_thought(
        prompt: str | list[dict[str, object]], in_thought: bool, said: str) -> None:
    rollout = Rollout(id="x", prompt=prompt, sample=0, samples=1, completion=r"It is \boxed{5}", in_thought=in_thought)
    assert reply_of(rollout) == said


@pytest.mark.parametrize(("name", "gold", "options"), VERIFIERS)
@pytest.mark.parametrize(("begin", "end"), [PAIRS[0], PAIRS[15], HARMONY])
def test_no_verifier_rewards_a_thought(name: str, gold: str, options: dict[str, object], begin: str, end: str) -> None:
    verifier, answer = load(name), ANSWERS[name]
    assert verifier.verify(gold, f"{begin}Well, let me see{end}{answer}", options).status == "correct"
    for completion in (f"{begin}{answer}", f"{begin}{answer}{end}", f"{begin}{answer}{end}, ???"):
        assert verifier.verify(gold, completion, options).status in ("wrong", "no_answer")


def test_the_form_of_a_thought_can_be_checked() -> None:
    pattern = {"pattern": r"\A<think>.+</think>\s*\S", "where": "everything"}
    statuses = [load("regex").verify("", text, pattern).status for text in ("<think>a</think>b", "b")]
    assert statuses == ["correct", "wrong"]


@pytest.mark.parametrize("piece", [
    "<think>", "</think>", "<|channel|>analysis", "<|", "◁", "Here is my thought process:", " ", "</s>",
    "</s>" + " " * 70, "<|im_end|> ", "[THINK]", "analysis", "think "])
@pytest.mark.parametrize("end", ["", "</think>", "</s>"])
def test_any_text_takes_linear_time(piece: str, end: str) -> None:
    text = piece * (200_000 // len(piece)) + end
    started = time.process_time()
    reply(text)
    assert time.process_time() - started < 1.0
