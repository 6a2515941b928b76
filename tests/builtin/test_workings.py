"""Written working is right to the last line, and a slip carries through to a wrong result."""

import random
import re
from dataclasses import replace
from functools import partial

import pytest

from sparkcli.builtin.demonstrations import Mixture, comparison
from sparkcli.builtin.streams import Tier
from sparkcli.builtin.tiny_math.demonstrations import SUBJECT, solve
from sparkcli.builtin.tiny_math.task import Problem, draw
from sparkcli.builtin.workings import Scratch, work


@pytest.mark.parametrize(
    ("operation", "numbers", "text"),
    [
        ("add", (47, 38), "47+38:7+8=15, 4+3+1=8, =85"),
        ("add", (147, 9), "147+9:7+9=16, 4+1=5, =156"),
        ("add", (3, 8), "3+8=11"),
        ("subtract", (203, 45), "203-45:13-5=8, 10-4-1=5, 2-1=1, =158"),
        ("subtract", (8, 3), "8-3=5"),
        ("multiply", (24, 9), "24*9:4*9=36, 2*9+3=21, =216"),
        ("multiply", (12, 9), "12*9=108"),
        ("divide", (161, 7), "161/7:16/7=2r2, 21/7=3, =23"),
    ],
)
def test_columns(operation: str, numbers: tuple[int, int], text: str) -> None:
    sheet = Scratch(random.Random(0))
    getattr(sheet, operation)(*numbers)
    assert sheet.text() == text


def value(expression: str) -> tuple[int, int]:
    """What Python makes of `2*9+3` or, with its rest, of `16/7`."""
    if "/" in expression:
        whole, part = expression.split("/")
        return divmod(int(whole), int(part))
    return eval(expression), 0


@pytest.mark.parametrize("tier", ["standard", "hard"])
def test_every_step_of_a_working_is_true(tier: Tier) -> None:
    rng = random.Random(1)
    for _ in range(500):
        problem = draw(tier, rng)
        text, result = work(partial(solve, problem), rng)
        assert result == problem.value
        heading = ""
        for step in re.split("[,:]", text.replace(" ", "")):
            if "=" not in step:
                heading = step
                continue
            left, _, right = step.partition("=")
            number, _, rest = right.partition("r")
            assert value(left or heading) == (int(number), int(rest or 0)), text


@pytest.mark.parametrize("tier", ["standard", "hard"])
def test_a_slip_ends_in_a_wrong_result(tier: Tier) -> None:
    rng = random.Random(2)
    for _ in range(300):
        problem = draw(tier, rng)
        assert SUBJECT.slip(problem, rng)[1] != problem.value


def test_comparison_stops_at_the_first_difference() -> None:
    assert comparison((171, 1), (149, 1)) == "1,1= 7,4≠ "
    assert comparison((3, 4), (3, 4)) == "3,3= /,/= 4,4= "
    assert comparison((8, 1), (85, 1)) == "8,8= _,5≠ "


def test_demonstrations_stay_clear_of_the_held_out_problems() -> None:
    """What was drawn last when a demonstration is made is what it shows."""
    drawn: list[Problem] = []

    def remember(tier: Tier, rng: random.Random) -> Problem:
        drawn.append(draw(tier, rng))
        return drawn[-1]

    subject = replace(SUBJECT, draw=remember)
    rng = random.Random(3)
    for _ in range(500):
        subject.demonstrate(Mixture(careful=0.5, hard=0.5), rng)
        assert not drawn[-1].held_out
