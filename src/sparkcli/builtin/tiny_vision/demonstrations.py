r"""What the warm start imitates: a picture, a prompt in any of the wordings, and a correct reply to it.

As in builtin:tiny-math a reply is *careful* (it writes down what it sees and calculates in writing, and for a verdict
compares the result with the claim character by character) or *terse* (the boxed answer at once).

    careful  red=47, blue=38, 47+38:7+8=15, 4+3+1=8, =85. 8,8= 5,7≠ \boxed{No}
    terse    \boxed{No}

To ground its words it is first shown pictures, half of them of a single thing, and lists what it sees.
"""

import random
from dataclasses import dataclass, replace
from typing import Literal

from sparkcli.builtin.tiny_math.demonstrations import _fill as fill
from sparkcli.builtin.tiny_math.demonstrations import boxed, comparison, templates
from sparkcli.builtin.tiny_math.workings import SEPARATOR, Scratch, SlipError
from sparkcli.builtin.tiny_vision.task import COLOURS, WORDINGS, Problem, draw, word

FINISH = ". "
LOOK = "List what the picture shows."

Ability = Literal["look", "solve", "judge", "compare", "reflect"]
ABILITIES: tuple[Ability, ...] = ("look", "solve", "judge", "compare", "reflect")


@dataclass(frozen=True, slots=True)
class Mixture:
    """Shares of what is demonstrated; the abilities' weights need not add up to 1."""

    careful: float
    hard: float = 0.2
    look: float = 0.0
    solve: float = 0.25
    judge: float = 0.27
    compare: float = 0.23
    reflect: float = 0.25


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One user message with the picture of `problem`, and the reply to imitate."""

    ability: Ability
    problem: Problem
    prompt: str
    reply: str


def demonstrate(mixture: Mixture, rng: random.Random, held_out: bool = False) -> Demonstration:
    """One demonstration, of a problem on the training side of the hold-out or (to measure with) on the other."""
    while True:
        problem = draw("hard" if rng.random() < mixture.hard else "standard", rng)
        if problem.held_out == held_out:
            break
    weights = (mixture.look, mixture.solve, mixture.judge, mixture.compare, mixture.reflect)
    (ability,) = rng.choices(ABILITIES, weights)
    careful = rng.random() < mixture.careful
    match ability:
        case "look":
            return _look(problem, rng)
        case "judge":
            return _judge(problem, careful, rng)
        case "compare":
            return _compare(problem, careful, rng)
        case "reflect":
            return _reflect(problem, careful, rng)
        case _:
            return Demonstration("solve", problem, _question(problem, rng), _solution(problem, careful, rng))


def solve(problem: Problem, sheet: Scratch) -> int:
    """Reads the things asked for, then works the problem out in writing."""
    shown = dict(problem.shown)
    read = [(sheet.fact(colour, shown[colour]), factor) for colour, factor in problem.asked]
    terms = [sheet.multiply(value, factor) if factor > 1 else factor * value for value, factor in read]
    total = terms[0]
    for term in terms[1:]:
        total = sheet.add(total, term) if term > 0 else sheet.subtract(total, -term)
    return total


def work(problem: Problem, rng: random.Random) -> str:
    """The correct working."""
    sheet = Scratch(rng)
    solve(problem, sheet)
    return sheet.text()


def slip(problem: Problem, rng: random.Random) -> tuple[str, int]:
    """A working with one thing misread or miscalculated, and its result, which differs from the right one."""
    sheet = Scratch(rng)
    solve(problem, sheet)
    while True:
        wrong = Scratch(rng, slip_at=rng.randrange(sheet.facts))
        try:
            value = solve(problem, wrong)
        except SlipError:
            continue
        if value != problem.value:
            return wrong.text(), value


def _look(problem: Problem, rng: random.Random) -> Demonstration:
    if rng.random() < 0.5:
        problem = replace(problem, shown=(rng.choice(problem.shown),))
    seen = sorted(problem.shown, key=lambda thing: COLOURS.index(thing[0]))
    return Demonstration("look", problem, LOOK, SEPARATOR.join(f"{colour}={value}" for colour, value in seen))


def _question(problem: Problem, rng: random.Random) -> str:
    return word(problem, rng.randrange(WORDINGS))


def _working(problem: Problem, careful: bool, rng: random.Random) -> str:
    return work(problem, rng) + FINISH if careful else ""


def _solution(problem: Problem, careful: bool, rng: random.Random) -> str:
    return _working(problem, careful, rng) + boxed(str(problem.value))


def _wrong_value(problem: Problem, rng: random.Random) -> int:
    """A wrong result: from a slip in the working, or one digit changed."""
    if rng.random() < 0.6:
        return slip(problem, rng)[1]
    value = problem.value
    while value == problem.value:
        digits = list(str(value))
        digits[rng.randrange(len(digits))] = str(rng.randrange(10))
        value = int("".join(digits))
    return value


def _judge(problem: Problem, careful: bool, rng: random.Random) -> Demonstration:
    template = rng.choice(templates("pointwise"))
    right = rng.random() < 0.5
    claimed = problem.value if right else _wrong_value(problem, rng)
    prompt = fill(template, question=_question(problem, rng), answer=str(claimed))
    compared = comparison((problem.value, 1), (claimed, 1)) if careful else ""
    reply = _working(problem, careful, rng) + compared + boxed(template["labels"][0 if right else 1])
    return Demonstration("judge", problem, prompt, reply)


def _compare(problem: Problem, careful: bool, rng: random.Random) -> Demonstration:
    template = rng.choice(templates("pairwise"))
    first_is_right = rng.random() < 0.5
    claims = [problem.value, _wrong_value(problem, rng)]
    if not first_is_right:
        claims.reverse()
    prompt = fill(template, question=_question(problem, rng), answer_a=str(claims[0]), answer_b=str(claims[1]))
    compared = comparison((problem.value, 1), (claims[0], 1)) if careful else ""
    reply = _working(problem, careful, rng) + compared + boxed(template["labels"][0 if first_is_right else 1])
    return Demonstration("compare", problem, prompt, reply)


def _reflect(problem: Problem, careful: bool, rng: random.Random) -> Demonstration:
    template = rng.choice(templates("reflection"))
    right = template["kind"] == "revise" and rng.random() < 0.3
    if template["attempt"] == "answer":
        attempt = str(problem.value if right else _wrong_value(problem, rng))
    else:
        attempt = _attempt(problem, right, rng)
    prompt = fill(template, question=_question(problem, rng), attempt=attempt)
    return Demonstration("reflect", problem, prompt, _solution(problem, careful, rng))


def _attempt(problem: Problem, right: bool, rng: random.Random) -> str:
    if rng.random() < 0.5:
        return boxed(str(problem.value if right else _wrong_value(problem, rng)))
    text, value = (work(problem, rng), problem.value) if right else slip(problem, rng)
    return text + FINISH + boxed(str(value))
