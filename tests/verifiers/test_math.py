"""Mathematical equality: pairs with math-verify's own verdict beside ours, shortcuts, and what is refused."""

import itertools
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparkcli.verifiers import math
from sparkcli.verifiers.base import Finding
from sparkcli.verifiers.registry import load

PAIRS = [json.loads(line) for line in
         (Path(__file__).parent / "math_pairs.jsonl").read_text(encoding="utf-8").splitlines()]
DIFFERENT = [pair for pair in PAIRS if "why" in pair]
NOTATION_PAIRS = [json.loads(line) for line in
                  (Path(__file__).parent / "math_notation_pairs.jsonl").read_text(encoding="utf-8").splitlines()]
"""What answers look like outside of textbooks; without math-verify's own verdict."""


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    math.warm()


def found(gold: str, answer: str) -> Finding:
    return math.quick(gold, answer, {}) or math.check(gold, answer, {})


def by_math_verify(gold: str, answer: str) -> bool:
    """The verdict of math-verify as its documentation has it, each side in a box of its own."""
    from math_verify import parse, verify

    sides = [parse(f"\\boxed{{{text}}}", parsing_timeout=None) for text in (gold, answer)]
    return bool(verify(*sides, timeout_seconds=None))


def name(pair: dict[str, Any]) -> str:
    return ascii(f"{pair['gold']} and {pair['answer']}")[1:-1]


@pytest.mark.parametrize("pair", PAIRS, ids=name)
def test_the_verdict_is_as_in_the_table(pair: dict[str, Any]):
    finding = found(pair["gold"], pair["answer"])
    assert finding.status == pair["status"], finding.reason
    assert 0 < len(finding.reason) <= 220


@pytest.mark.parametrize("pair", NOTATION_PAIRS, ids=name)
def test_notation_is_read_as_people_read_it(pair: dict[str, Any]):
    finding = found(pair["gold"], pair["answer"])
    assert finding.status == pair["status"], finding.reason


@pytest.mark.parametrize("pair", PAIRS, ids=name)
def test_math_verify_still_says_what_it_said(pair: dict[str, Any]):
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    assert by_math_verify(pair["gold"], pair["answer"]) == pair["math_verify"]


@pytest.mark.parametrize("pair", PAIRS, ids=name)
def test_where_the_verdicts_differ_it_is_on_purpose(pair: dict[str, Any]):
    assert ("why" in pair) == ((pair["status"] == "correct") != pair["math_verify"])


def test_the_table_is_large_and_has_no_pair_twice():
    assert len({(pair["gold"], pair["answer"]) for pair in PAIRS}) == len(PAIRS) >= 260
    assert sum(pair["status"] == "wrong" for pair in PAIRS) >= 100


def test_a_tree_of_the_faster_parser_is_that_of_the_full_one():
    import sympy
    from latex2sympy2_extended.latex2sympy2 import _Latex2Sympy

    from sparkcli.verifiers.mathematics.parsing import _Converter, normalized
    from sparkcli.verifiers.mathematics.rewriting import rewritten

    def tree(converter: type, text: str) -> str | None:
        try:
            return sympy.srepr(converter(is_real=True).parse(text))
        except Exception:  # noqa: BLE001 - the grammar has no error of its own
            return None

    texts = {normalized(rewritten(pair[side])) for pair in PAIRS for side in ("gold", "answer")}
    fast = {text: tree(_Converter, text) for text in sorted(texts)}
    assert [text for text, found in fast.items() if found and found != tree(_Latex2Sympy, text)] == []
    assert sum(found is not None for found in fast.values()) > 0.8 * len(texts)


@pytest.mark.parametrize("content", ["Answer: 5", "The answer is 5.", "答案：5"])
def test_what_a_box_says_of_its_answer_is_no_part_of_it(content: str):
    reading = math.read("5", rf"So \boxed{{{content}}}", {"reading": "boxed"})
    assert reading is not None and reading.text == "5"


def test_the_last_box_is_taken():
    assert load("math").verify("4", r"\boxed{3} or rather \boxed{4}").status == "correct"
    assert load("math").verify("4", r"\boxed{4}, no: \boxed{3}").status == "wrong"


@pytest.mark.parametrize(("gold", "answer", "status"), [
    ("", "5", "gold_unparseable"), (r"\left(\frac{", "5", "gold_unparseable"), ("5", r"\left(\frac{", "wrong"),
    (r"\boxed{5}", "5", "correct"), (r"\frac{1}{0}", "5", "gold_unparseable")])
def test_a_gold_answer_that_cannot_be_read_is_no_statement(gold: str, answer: str, status: str):
    assert found(gold, answer).status == status


@pytest.mark.parametrize(("gold", "answer", "reason"), [
    ("x", "x", "equal text"),
    ("(1,2)", r"\left( 1, 2 \right)", "equal text but for spacing"),
    ("0.5", r"\frac{1}{2}", "equal numbers"),
    ("0.5", "0.6", "different numbers"),
    ("Yes", r"\text{no}", "different words"),
    ("5 kg", "5 g", "different units: kg and g"),
    (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}", r"equal, by value: \frac{\sqrt{2}}{2} = \frac{1}{\sqrt{2}}"),
    ("x+1", "x-1", "not equal, by value: x+1 ≠ x-1"),
    ("x>3", "x<3", "not equal, says math-verify: x > 3 ≠ x < 3"),
    ("x>3", "2x>6", "equal, as sets of numbers: x > 3 = 2*x > 6"),
])
def test_the_reason_tells_how_both_sides_were_understood(gold: str, answer: str, reason: str):
    assert found(gold, answer).reason == reason


NUMBERS = st.one_of(
    st.integers(-10**9, 10**9).map(str),
    st.integers(1000, 10**9).map("{:,}".format),
    st.decimals(-1000, 1000, places=3).map(str),
    st.builds(r"{}\frac{{{}}}{{{}}}".format, st.sampled_from(["", "-"]), st.integers(0, 99), st.integers(1, 99)),
    st.builds("{}/{}".format, st.integers(0, 99), st.integers(1, 99)),
    st.builds(r"{} \times 10^{{{}}}".format, st.integers(1, 99), st.integers(-3, 9)),
    st.builds("{}e{}".format, st.integers(1, 99), st.integers(-3, 9)),
    st.integers(0, 200).map(r"{}\%".format),
)


@given(NUMBERS, NUMBERS)
@settings(max_examples=300, derandomize=True, deadline=None)
def test_the_shortcut_agrees_with_the_algebra(gold: str, answer: str):
    shortcut = math.quick(gold, answer, {})
    assert shortcut is None or shortcut.status == math.check(gold, answer, {}).status


@given(st.fractions(-100, 100, max_denominator=200), st.sampled_from([0, 0, 1]))
@settings(max_examples=150, derandomize=True, deadline=None)
def test_the_shortcut_agrees_with_the_algebra_on_close_numbers(value: Any, gap: int):
    gold, answer = f"{value.numerator}/{value.denominator}", f"{float(value) + gap / 1000:.6f}"
    shortcut = math.quick(gold, answer, {})
    assert shortcut is None or shortcut.status == math.check(gold, answer, {}).status


@given(st.text(max_size=40), st.text(max_size=40))
@settings(max_examples=300, derandomize=True, deadline=None)
def test_the_shortcut_never_raises(gold: str, answer: str):
    math.quick(gold, answer, {})


ODD = ["\x00", "\ud800", "{", "}", "\\", "$", "\\boxed{", "\\frac{", "7", "**", "\\text{", "a", " ", "_", "^", ",",
       "1,0", "~"]


@pytest.mark.parametrize("piece", ODD, ids=ascii)
def test_reading_and_the_shortcut_take_any_text_in_linear_time(piece: str):
    long = piece * (1_000_000 // len(piece))
    options = {"reading": "stated"}
    for gold, text in itertools.product(["42", "x+1"], [long, "5" + long, long + "5"]):
        math.read(gold, rf"\boxed{{{text}}}", options)
        finding = math.quick(gold, text, {})
        assert finding is None or finding.status in ("error", "wrong", "correct")


def test_integers_of_any_length_are_compared():
    assert found("42", "7" * 1_000_000).status == "wrong"
    assert found("0" + "7" * 10_000, "+" + "7" * 10_000).status == "correct"


@pytest.mark.parametrize("answer", [
    "x" * 3000, r"\frac{1}{" * 50 + "2" + "}" * 50, "-" * 300 + "5",
    "9^{9^{9^{9}}}", "9**9**9**9", "x^{9^{9^{9}}}", r"\{2, 9^{9^{9}}\}", r"(0, 9^{9^{9}})", r"\gcd(9^{9^{9}}, 3)",
    "x=9^{9^{9}}", "1e999999999", r"\exp(\exp(\exp(100)))", "2^{-10^{10}}", "x^" * 20 + "2",
    "100000000!", "(10^{20})!", "3!!!!!!!!", r"\binom{10^9}{5 \cdot 10^8}", r"\binom{1000000000}{500000000}",
    r"\sum_{k=1}^{10^{12}} k", r"\prod_{k=1}^{1000000000000} k", r"\operatorname{eye}(100000)"])
def test_what_would_take_for_ever_is_refused_at_once_and_not_called_wrong(answer: str):
    finding = found(r"\sqrt{2}", answer)
    assert finding.status == "error"
    assert "the answer" in finding.reason or "too deeply" in finding.reason


@pytest.mark.parametrize("answer", [r"\frac{1}{1+" * 20 + "2" + "}" * 20, r"\sqrt{" * 30 + "2" + "}" * 30, "7^{5000}+1",
                                    "1+" * 200 + "1", "20!", r"\binom{40}{20}", r"\sum_{k=1}^{1000} k^2"])
def test_what_is_only_large_is_compared(answer: str):
    assert found(r"\sqrt{2}", answer).status == "wrong"
    assert found(answer, f"{answer}+0").status == "correct"
