r"""Arithmetic by values says what math-verify's grammar and sympy say, on all kinds of answers, and on broken ones.

Left out is what the algebra gets wrong: it cannot read some answers, does not compute what it compares with a
bare letter (`x` and `x+0`, `\$1b` and `\$b`), and calls all intervals equal whose ends are in the wrong order.
"""

import logging
import re

import pytest
from tests.benchmarks.inputs import forms
from tests.verifiers.mathematics import answers

from sparkcli.verifiers import math
from sparkcli.verifiers.mathematics import symbolic


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    math.warm()


@pytest.fixture
def _by_algebra_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the worker's `check` without the shortcut that is tested here."""
    monkeypatch.setattr(symbolic, "by_value", lambda gold, answer: None)
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)


def differences(pairs: list[tuple[str, str]]) -> tuple[list[str], int, int]:
    """Where the two disagree, unless that is known; how often the shortcut says equal, and different."""
    found, statuses = [], []
    for gold, answer in pairs:
        by_value = math.quick(gold, answer, {})
        if by_value is None or "by value" not in by_value.reason:
            continue
        by_algebra = math.check(gold, answer, {})
        is_read = by_algebra.status != "gold_unparseable" and not by_algebra.is_unreadable
        if not is_read or "EmptySet = EmptySet" in by_algebra.reason:
            continue
        if by_value.status == "correct" and _has_letter(gold, answer):
            continue
        statuses.append(by_value.status)
        if by_algebra.status != by_value.status:
            found.append(f"{gold!r}, {answer!r}: {by_value}, {by_algebra}")
    return found, statuses.count("correct"), statuses.count("wrong")


_LETTER = re.compile(r"(?:^|[=,(\[{&$])\s*1?[a-z]\s*(?:\^\{?\\circ\}?|\\text\{[^{}]*\})?(?:$|[=,)\]}&])")


def _has_letter(*sides: str) -> bool:
    """Whether a bare letter, perhaps with a unit, is an answer, or an item or a side of one."""
    return any(map(_LETTER.search, sides))


FORMS = [(f"{form}, {'equal' if equal else 'unequal'}", forms.pairs(form, 3, rows=20, equal=equal))
         for form in forms.FORMS for equal in (True, False)]
FORMS += [(f"{gold} and {answer}", forms.mixed(gold, answer, 3, rows=20)) for gold, answer in forms.MIXED]


@pytest.mark.usefixtures("_by_algebra_only")
@pytest.mark.parametrize("pairs", [pairs for _, pairs in FORMS], ids=[name for name, _ in FORMS])
def test_forms_of_answers(pairs):
    assert differences(list(pairs))[0] == []


@pytest.mark.usefixtures("_by_algebra_only")
def test_some_made_up_answers():
    found, equal, different = differences(list(answers.pairs(seed=0, count=800)))
    assert found == []
    assert equal > 5 and different > 30


@pytest.mark.slow
@pytest.mark.usefixtures("_by_algebra_only")
@pytest.mark.parametrize("seed", range(1, 5))
def test_many_made_up_answers(seed: int):
    found, equal, different = differences(list(answers.pairs(seed=seed, count=5000)))
    assert found == []
    assert equal > 30 and different > 300
