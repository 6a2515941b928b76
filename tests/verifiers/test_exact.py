"""`exact`: the same text."""

import pytest

from sparkcli.verifiers.registry import load


def status(gold: str, answer: str, **options: object) -> str:
    return load("exact").verify(gold, rf"So it is \boxed{{{answer}}}.", options).status


@pytest.mark.parametrize(("gold", "answer", "expected"), [
    ("blue  whale", "blue whale", "correct"), ("blue", "Blue", "wrong"), ("blue", "red", "wrong"),
    ("caf\u00e9", "cafe\u0301", "correct"), (" ", "blue", "gold_unparseable")])
def test_words_are_compared(gold: str, answer: str, expected: str):
    assert status(gold, answer) == expected


def test_case_can_be_ignored():
    assert status("Blue", "bLUE", ignore_case=True) == "correct"


@pytest.mark.parametrize(("gold", "completion", "expected"), [
    ("yes", "yes", "correct"), ("yes", "<think>no</think>\nyes", "correct"), ("yes", "no", "wrong"),
    ("Paris", "**Paris**.", "correct"), ("blue whale", "blue whale<|im_end|>", "correct"), ("42", "42.", "correct"),
    ("U.S.", "U.S.", "correct"), ("Paris", "It is Paris", "no_answer"), ("Paris", "Paris or London", "no_answer"),
    ("yes", "<think>yes", "no_answer"), ("yes", "yes\n\nno", "no_answer"), ("yes", "", "no_answer")])
def test_a_completion_may_be_nothing_but_the_answer(gold: str, completion: str, expected: str):
    assert load("exact").verify(gold, completion, {}).status == expected
