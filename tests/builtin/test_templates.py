"""The shape of the prompt wordings: enough of every kind, each asking for one spelling of the box."""

import re
from collections import Counter

import pytest

from sparkcli.builtin.demonstrations import templates

PLACEHOLDERS = {
    "pointwise": ["question", "answer"],
    "pairwise": ["question", "answer_a", "answer_b"],
    "reflection": ["question", "attempt"],
}


@pytest.mark.parametrize("kind", PLACEHOLDERS)
def test_each_wording_has_a_name_of_its_own_and_its_placeholders_once_in_order(kind: str) -> None:
    assert len({template["name"] for template in templates(kind)}) == len(templates(kind))
    for template in templates(kind):
        assert re.findall(r"\{\{(\w+)\}\}", str(template["text"])) == PLACEHOLDERS[kind], template["name"]


@pytest.mark.parametrize("kind", ["pointwise", "pairwise"])
def test_a_verdict_is_asked_for_by_its_labels(kind: str) -> None:
    for template in templates(kind):
        boxes = re.findall(r"\\boxed\{(\w+)\}", str(template["text"]))
        assert boxes == list(template["labels"]), template["name"]
        assert r"\box{" not in template["text"]


def test_reflection_asks_for_a_boxed_answer() -> None:
    for template in templates("reflection"):
        assert template["text"].count(r"\boxed{}") == 1, template["name"]


def test_there_are_enough_of_every_kind() -> None:
    labels = Counter(tuple(template["labels"]) for template in templates("pointwise"))
    assert labels[("Yes", "No")] >= 8
    assert labels[("A", "B")] >= 8
    assert len(templates("pairwise")) >= 10
    kinds = Counter((template["attempt"], template["kind"]) for template in templates("reflection"))
    for attempt in ("cot", "answer"):
        assert kinds[attempt, "revise"] == 2 * kinds[attempt, "afresh"]
        assert kinds[attempt, "revise"] + kinds[attempt, "afresh"] >= 10
