from typing import Any

import pytest

from sparkcli.errors import UsageError
from sparkcli.files.templates import read_templates
from sparkcli.method.judging import read_label
from sparkcli.method.templates import Templates, fill

BUILT_IN = Templates.from_tables(read_templates())


def tables(**changes: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Three small files; a keyword changes keys of the first template of its file."""
    right = {
        "pointwise": [{"name": "p", "labels": ["Yes", "No"], "text": r"{{question}} {{answer}} \boxed{Yes}"}],
        "pairwise": [{"name": "q", "labels": ["A", "B"],
                      "text": r"{{question}} {{answer_a}} {{answer_b}} \boxed{A}"}],
        "reflection": [{"name": name, "attempt": name, "kind": "afresh",
                        "text": r"{{question}} {{attempt}} \boxed{}"} for name in ("cot", "answer")],
    }
    for kind, change in changes.items():
        right[kind][0] = {**right[kind][0], **change}  # type: ignore[dict-item]
    return right  # type: ignore[return-value]


def test_small_files_of_ones_own_are_enough() -> None:
    assert Templates.from_tables(tables()).pointwise[0].labels == ("Yes", "No")


def test_the_built_in_wordings_cover_every_kind() -> None:
    assert sum(w.labels == ("Yes", "No") for w in BUILT_IN.pointwise) >= 8
    assert sum(w.labels == ("A", "B") for w in BUILT_IN.pointwise) >= 8
    assert len(BUILT_IN.pairwise) >= 10
    for attempt in ("cot", "answer"):
        afresh, both = BUILT_IN.reflections(attempt, "afresh"), BUILT_IN.reflections(attempt)
        assert len(both) >= 10
        assert len(afresh) * 3 == len(both)  # one third says that the attempt is wrong


@pytest.mark.parametrize("wording", BUILT_IN.pointwise + BUILT_IN.pairwise, ids=lambda wording: wording.name)
def test_every_label_reads_back_from_the_box_that_the_prompt_asks_for(wording: Any) -> None:
    for label in wording.labels:
        assert rf"\boxed{{{label}}}" in wording.text
        assert read_label(rf"Some reasoning. \boxed{{{label}}}", wording.labels) == label


def test_verdicts_are_the_yes_no_wordings_or_all_where_there_are_none() -> None:
    assert {w.labels for w in BUILT_IN.verdicts} == {("Yes", "No")}
    german = Templates.from_tables(tables(pointwise={"labels": ["Ja", "Nein"]}))
    assert german.verdicts == german.pointwise


def test_values_are_never_filled_again() -> None:
    assert fill("{{a}}|{{b}}", a="{{b}}", b=r"\g<0>{{a}}{") == r"{{b}}|\g<0>{{a}}{"


@pytest.mark.parametrize(("changes", "message"), [
    ({"pointwise": {"labels": ["Yes"]}}, r"pointwise\.toml: p: labels: expected two strings"),
    ({"pointwise": {"labels": "Yes"}}, "labels: expected two strings"),
    ({"pointwise": {"labels": ["A", "a"]}}, "two that differ"),
    ({"pointwise": {"labels": ["ok!", "no"]}}, "'ok!' cannot be read from a box"),
    ({"pointwise": {"label": ["Yes", "No"]}}, "label: unknown key; did you mean 'labels'"),
    ({"pointwise": {"name": None}}, "template 1: name"),
    ({"pointwise": {"name": "a/b"}}, "template 1: name"),
    ({"pointwise": {"text": 1}}, "p: text: expected a string"),
    ({"pointwise": {"text": r"{{question}} \boxed{}"}}, r"p: text: .* placeholder \{\{answer\}\}, missing"),
    ({"pairwise": {"text": r"{{qestion}} \boxed{}"}}, "unknown placeholder .*; did you mean 'question'"),
    ({"pairwise": {"text": "{{question}} {{answer_a}} {{answer_b}} \\box{}"}}, r"ask for \\boxed"),
    ({"reflection": {"attempt": "half"}}, "cot: attempt: expected cot or answer, found 'half'"),
    ({"reflection": {"kind": None}}, "cot: kind: expected revise or afresh, found None"),
    ({"reflection": {"kind": "revise"}}, 'expected one with attempt = "cot" and kind = "afresh"'),
    ({"reflection": {"name": "answer"}}, "answer: expected each name once"),
])
def test_a_wrong_template_is_named(changes: dict[str, dict[str, Any]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Templates.from_tables(tables(**changes))
