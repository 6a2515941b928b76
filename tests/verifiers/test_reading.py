"""What the verifiers of short answers read, by their option `reading`."""

import time

import pytest

from sparkcli.errors import InputError
from sparkcli.method.answers import Reading
from sparkcli.verifiers.reading import short_answer
from sparkcli.verifiers.registry import load, resolve


@pytest.mark.parametrize(("completion", "boxed", "stated", "last"), [
    (r"So \boxed{4}.", "4", "4", "4"),
    ("The answer is 4.", None, "4", "4"),
    ("2 + 2 = 4\nA: 4", None, "4", "4"),
    ("A: 4, or not?\nHm.", None, None, "4"),
    ("$x^2$", None, "x^2", "x^2"),
    ("$$x^2$$.", None, "x^2", "x^2"),
    ("-1,234.5", None, "-1,234.5", "-1,234.5"),
    ("$5", None, "5", "5"),
    ("\\(4\\)", None, "4", "4"),
    ("The answer is 4. Or maybe not.", None, None, "4"),
    ("There are 3 dots, and then 12 more.", None, None, "12"),
    ("It costs $18.50 in all.", None, None, "18.50"),
    ("So $x = 5$ is what we wanted to know.", None, None, "x = 5"),
    ("Three of them", None, None, None),
    ("Even.", None, "Even", "Even"),
    ("", None, None, None),
])
def test_how_much_counts_as_an_answer(completion: str, boxed: str | None, stated: str | None, last: str | None):
    read = {name: short_answer(completion, name) for name in ("boxed", "stated", "last")}
    assert {name: reading and reading.text for name, reading in read.items()} == {
        "boxed": boxed, "stated": stated, "last": last}


def test_how_the_last_number_was_found_is_told():
    assert short_answer("3 or 4", "last") == Reading("4", "the last formula or number")


def test_math_reads_as_asked():
    completion = "There are 3 dots, and then 12 more."
    statuses = [load("math").verify("12", completion, {"reading": name}).status for name in ("boxed", "stated", "last")]
    assert statuses == ["no_answer", "no_answer", "correct"]


@pytest.mark.parametrize("name", ["math", "number", "choice"])
def test_unknown_readings_are_input_errors(name: str):
    with pytest.raises(InputError, match="reading: expected stated, boxed or last, found 'first'"):
        resolve({"name": name, "reading": "first"}, "here")


@pytest.mark.parametrize("name", ["number", "choice", "label", "exact"])
@pytest.mark.parametrize("reading", ["stated", "last"])
@pytest.mark.parametrize("piece", [
    "1", "1,", "$", "$1", "(A)", "A, ", "and A ", "{", "\\frac", " ", "\0", "\ud800", "1 ", "="], ids=ascii)
def test_hostile_answers_take_linear_time(name: str, reading: str, piece: str):
    verifier = load(name)
    options = {"reading": reading} if "reading" in verifier.options else {}
    text = piece * (300_000 // len(piece))
    start = time.process_time()
    for completion in (text, rf"\boxed{{{text}}}", f"The answer is {text}"):
        verifier.verify("A", completion, options)
    assert time.process_time() - start < 1.0
