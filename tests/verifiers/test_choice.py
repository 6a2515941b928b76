"""`choice`: which options an answer names, by letters or by texts."""

import pytest

from sparkcli.errors import InputError
from sparkcli.verifiers.reading.options import letters
from sparkcli.verifiers.registry import load, resolve

WEIGHTS = (r"$4 \mathrm{~kg}$", r"$8 \mathrm{~kg}$", "12 kg", "None of these")


def verdict(gold: str, completion: str, **options: object):
    return load("choice").verify(gold, completion, options)


@pytest.mark.parametrize(("text", "named"), [
    ("B", "B"), ("(B)", "B"), ("b)", "B"), ("B.", "B"), ("**B**", "B"), (r"\text{B}", "B"), (r"\mathrm{(B)}", "B"),
    (r"\textbf{(B)}\ 12", "B"), (r"{\bf (B)}", "B"), ("$B$", "B"), ("\uff08B\uff09", "B"),
    ("B. 12 cm", "B"), ("B) 12 cm", "B"), ("(B) 12 cm", "B"), ("B: 12", "B"), ("B, 12 cm", "B"),
    (r"(B) \frac{1}{2}", "B"),
    ("option B", "B"), ("Option (B): 12 cm", "B"), ("choice b", "B"), (r"\text{The answer is (B)}", "B"),
    ("B only", "B"),
    ("4 m, which is (B)", "B"), ("(D) either R or S", "D"),
    ("A, C", "A, C"), ("C,A", "A, C"), ("AC", "A, C"), ("A and C", "A, C"), ("(A), (C)", "A, C"), ("(A)(C)", "A, C"),
    ("A & C", "A, C"), ("options A, B and D", "A, B, D"), ("A; C", "A, C"),
])
def test_letters(text: str, named: str):
    assert letters(text) == named


@pytest.mark.parametrize("text", [
    "", "a cat", "A cat", "12 cm", "A or B", "(A) or (E)", "A, B, or C", "A/B", "neither A nor B", "all except E",
    "B-C-A",
    "e.g. this", "E.g. this", "CAB", "None of the above", "A " * 600])
def test_what_names_no_letter_or_leaves_it_open(text: str):
    assert letters(text) is None


@pytest.mark.parametrize(("text", "named"), [
    ("8 kg", "B"), (r"8\text{ kg}", "B"), (r"8 \mathrm{kg}", "B"), ("8", "B"), ("12kg", "C"), ("x = 12", "C"),
    ("none of these.", "D"), (r"\text{None of these}", "D"), ("(B) 9 kg", "B"), ("8 g", None), ("9 kg", None),
    ("16/2", "B")])
def test_option_texts(text: str, named: str | None):
    assert letters(text, WEIGHTS) == named


@pytest.mark.parametrize(("text", "options", "named"), [
    ("S", ("S", "I", "M", "O", "N"), "A"),
    ("E", ("A", "B", "C", "E", "impossible"), None),
    ("(E)", ("A", "B", "C", "E", "impossible"), "E"),
    ("(b)", ("(c)", "(a)", "(b)"), "C"),
    ("A and B", ("A", "B", "A and B"), "C"),
    ("AC", ("AB", "AC"), "B"),
    ("5", ("5", "5.0"), "A"),
    ("5.00", ("5", "5.0"), None),
    (r"\dfrac{11}{2}", (r"$\frac{1}{12}$", r"$\frac{11}{2}$"), "B"),
    (r"90^{\circ}", ("45°", "90°"), "B"),
])
def test_a_text_has_to_be_that_of_one_option_only(text: str, options: tuple[str, ...], named: str | None):
    assert letters(text, options) == named


@pytest.mark.parametrize(("gold", "answer", "expected"), [
    ("B", "B", "correct"), ("B", "C", "wrong"), ("B", "A or B", "no_answer"), ("B", "a cat", "no_answer"),
    ("A, C", "(C) and (A)", "correct"), ("AC", "A", "wrong"), ("A", "A, C", "wrong"),
    ("12", "B", "gold_unparseable")])
def test_verdicts(gold: str, answer: str, expected: str):
    assert verdict(gold, rf"\boxed{{{answer}}}").status == expected


@pytest.mark.parametrize(("gold", "answer", "expected"), [
    ("B", "8 kg", "correct"), ("8 kg", "B", "correct"), (r"8\text{ kg}", r"$8 \mathrm{~kg}$", "correct"),
    ("B", "4 kg", "wrong"),
    ("B", "9 kg", "no_answer"), ("9 kg", "B", "gold_unparseable")])
def test_verdicts_with_option_texts(gold: str, answer: str, expected: str):
    assert verdict(gold, rf"\boxed{{{answer}}}", options=list(WEIGHTS)).status == expected


def test_what_was_read_as_a_letter_stays_one():
    letters_swapped = ["B", "A"]
    assert verdict("option A", r"\boxed{(A)}", options=letters_swapped).status == "correct"
    assert verdict("option A", r"\boxed{A}", options=letters_swapped).status == "no_answer"


@pytest.mark.parametrize(("completion", "boxed", "stated", "last"), [
    (r"\boxed{B}", "B", "B", "B"),
    ("The answer is (B).", None, "B", "B"),
    ("B", None, "B", "B"),
    ("(B) 12 cm", None, "B", "B"),
    ("(B)\n\nIt is the largest.", None, "B", "B"),
    ("**(B)**\n\nIt is the largest.", None, "B", "B"),
    ("(B)\n(C)", None, None, "C"),
    ("(A) 3\n(B) 4", None, None, "B"),
    ("The answer is (B). Or perhaps not.", None, None, "B"),
    ("Therefore the result is (B), as I said.", None, "B", "B"),
    (r"\boxed{A or B}, rather (B)", None, None, None),
    ("B is nice", None, None, None),
])
def test_where_options_may_be_named(completion: str, boxed: str | None, stated: str | None, last: str | None):
    read = {name: verdict("B", completion, reading=name).extracted for name in ("boxed", "stated", "last")}
    assert read == {"boxed": boxed, "stated": stated, "last": last}


def test_a_completion_that_is_the_text_of_an_option():
    assert verdict("C", "12 kg", options=list(WEIGHTS)).status == "correct"


@pytest.mark.parametrize("options", [[1, 2], ["x"] * 27])
def test_options_are_texts(options: list[object]):
    with pytest.raises(InputError, match="verifier choice: options: expected at most 26 texts"):
        resolve({"name": "choice", "options": options}, "here")


@pytest.mark.parametrize(("completion", "named"), [
    ("The answer is B because the mass is larger.", "B"),
    (r"So \boxed{\langle H\rangle \ll \Delta E}. Hence: **Answer: D**", "D"),
    ("Therefore, option B is correct.", "B"),
    ("The answer is (B), since it is larger.", "B"),
    ("B because it is larger", "B"),
    ("B, as shown above", "B"),
    ('It doubles the force.\n\n**B**', "B"),
    ('Working.\n\n(C)', "C"),
    ('A\nB\nC', None),
    ('Working\n\nOption D', "D"),
    ("The correct choice is (C): 12 cm", "C"),
    (r"\boxed{A or B}, rather (B)", None),
    (r"\boxed{A} or \boxed{B}. The answer is A.", None),
    ("The answer is either A or B.", None),
    ("The answer is A or B because of this.", None),
    ("A is a vowel", None),
    ("B is nice", None),
    ('\\boxed{5\\text{ J}}\nSo the answer is B.', "B"),
    ('\\boxed{["A","C"]}', "A, C"),
    (r"\boxed{\{A, C\}}", "A, C"),
    (r"\boxed{[B]}", "B"),
    ("The answer is A and C, since both hold.", "A, C"),
    ("Thus the answer is B.</s>", "B"),
    ("ANSWER: B", "B"),
    ("Answer: (B) 12 cm", "B"),
    ("My answer is B.", "B"),
    ("The answer must be D, the largest of all.", "D"),
    ("Only C is correct.", "C"),
    ("So C is the right option.", "C"),
    ("Option A is not correct. Option C is correct.", "C"),
    ("C is incorrect.", None),
    ("The answer is not B.", None),
    ("The best option is (A).", "A"),
    ("Correct answer: B) 12", "B"),
    ('**Final Answer**\n\nB', "B"),
    ("Final answer: **B. 12 cm**", "B"),
    ("<answer>B</answer>", "B"),
    ("<answer>(B) because it is</answer>", "B"),
    ("I think the answer is B", "B"),
    ("The answer could be B", None),
    ("Answer: B or C", None),
    (r"Either \boxed{A} or \boxed{B}", None),
    ("The answer is B? Not sure", None),
    ("The answer is B but C is possible", None),
    ("Answer: none of them", None),
    ("The answer is B, not C.", "B"),
    ("The answer is A, B, or C", None),
    ("A, because B is wrong", "A"),
    ("E", "E"),
    ('A.\nB is wrong.', "A"),
    ("The answers are A, C and D because they hold", "A, C, D"),
    ("答案是B，因为2+3=5。", "B"),
    ("所以选B", "B"),
    ("综上，故选：(C)。", "C"),
    ("I would choose C.", "C"),
    ("Hence I would pick option (D).", "D"),
    ("I would choose C or D.", None),
    ("We choose 3 of them, A or B.", None),
    ("That leaves only B.", "B"),
    ("Option C is correct because water expands when it freezes.", "C"),
    ("C is the answer because the rest are even.", "C"),
    ("Answer - C", "C"),
    ("So, the answer is therefore C!", "C"),
    ("Options A and C are correct.", "A, C"),
    ("Both A and C are correct.", "A, C"),
    ("Options A, B, and D are correct.", "A, B, D"),
    ("A and B are correct if x > 0.", None),
    ("Option A is correct only when x = 1.", None),
    ("A is correct about the sign. C is correct about the value.", None),
    ("I don't think the answer is A.", None),
    ("One might think the answer is A.", None),
    ("The wrong answer is A.", None),
    ("My answer is A... or B.", None),
    ("The answer is A. Or B.", None),
    ("The answer is A, although B could also work.", None),
])
def test_options_in_prose(completion: str, named: str | None):
    assert verdict("B", completion).extracted == named


@pytest.mark.parametrize(("gold", "answer", "expected"), [
    ('["A","C"]', "A, C", "correct"), ('["A", "C"]', "C and A", "correct"), ("['A', 'C']", "AC", "correct"),
    ('["A"]', "A", "correct"), ('["A","C"]', "A", "wrong"), ('["A","C"]', "A or C", "no_answer"),
    ("A", '["A"]', "correct"), ("A, C", r"\{A, C\}", "correct"), ('["cat"]', "A", "gold_unparseable")])
def test_lists_of_letters(gold: str, answer: str, expected: str):
    assert verdict(gold, rf"\boxed{{{answer}}}").status == expected
