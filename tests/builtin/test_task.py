"""The tiny-math problems: reproducible, right, and cleanly split."""

import random
from fractions import Fraction
from itertools import islice

import pytest

from sparkcli.builtin.streams import HELD_OUT_ONE_IN, Split
from sparkcli.builtin.tiny_math.task import PHRASES, WORDINGS, Problem, draw, problems, word

SPLITS: tuple[Split, ...] = ("train", "test", "hard")


@pytest.mark.parametrize("split", SPLITS)
def test_a_stream_repeats_nothing_and_says_what_verifies_it(split: Split) -> None:
    stream = list(problems(split, 0, 1000))
    assert len({prompt.id for prompt in stream}) == len({prompt.prompt for prompt in stream}) == 1000
    assert all(prompt.id.startswith(f"tiny-math/{split}/") for prompt in stream)
    assert {(prompt.task, prompt.verifier) for prompt in stream} == {("solve", "math")}


def test_test_and_train_share_no_problem_in_any_wording() -> None:
    rng = random.Random(0)
    drawn = [draw("standard", rng) for _ in range(20_000)]
    texts = {split: {prompt.prompt for prompt in problems(split, 3, 3000)} for split in SPLITS}
    for problem in drawn:
        wordings = {word(problem, wording) for wording in range(WORDINGS)}
        assert not wordings & texts["hard"]
        assert not wordings & texts["train" if problem.held_out else "test"]
    share = sum(problem.held_out for problem in drawn) / len(drawn)
    assert abs(share - 1 / HELD_OUT_ONE_IN) < 0.02


@pytest.mark.parametrize(
    ("problem", "twin"),
    [
        (Problem("sum", (23, 45, -12)), Problem("sum", (45, -12, 23))),
        (Problem("equation", (3, 20, 15, -11)), Problem("equation", (3, 20, -11, 15))),
        (Problem("fraction", (1, 4, 2, 3)), Problem("fraction", (2, 3, 1, 4))),
    ],
)
def test_twins_that_differ_by_order_are_one_problem(problem: Problem, twin: Problem) -> None:
    assert problem.canonical == twin.canonical
    assert problem.held_out == twin.held_out
    assert Fraction(*problem.value) == Fraction(*twin.value)


def test_the_smallest_family_outlasts_an_evaluation() -> None:
    fractions = [p for p in problems("test", 0, 3000) if "/" in p.prompt]
    assert len(fractions) > 600


def test_a_stream_of_everything_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparkcli.builtin.streams.PATIENCE", 2)
    assert len(list(islice(problems("test", 0, 10**6), 200))) < 200


def test_gold_answers_solve_the_question_as_it_is_worded() -> None:
    """Plain wordings are evaluated as Python, independently of the generator."""
    checked = 0
    for split in SPLITS:
        for prompt in problems(split, 1, 600):
            assert prompt.answer is not None
            gold = Fraction(prompt.answer.replace(r"\frac{", "").replace("}{", "/").rstrip("}"))
            if prompt.prompt.startswith("Compute "):
                expression = prompt.prompt.removeprefix("Compute ").removesuffix(" as a fraction.")
                assert Fraction(eval(expression.rstrip("."))).limit_denominator(10_000) == gold
            elif prompt.prompt.startswith("Solve "):
                left, right = prompt.prompt.removeprefix("Solve ").removesuffix(" for x.").split("=")
                assert eval(left.replace("x", f"*{gold}")) == int(right)
            else:
                continue
            checked += 1
    assert checked > 300


def test_questions_consist_of_the_listed_phrases_and_short_tokens() -> None:
    for split in SPLITS:
        for prompt in problems(split, 2, 300):
            rest = str(prompt.prompt)
            for phrase in sorted(PHRASES, key=len, reverse=True):
                rest = rest.replace(phrase, "")
            assert not set(rest) - set("0123456789+-=/x.?"), prompt.prompt
