r"""What the warm start imitates: a prompt in any of the wordings, and a correct reply to it.

Every reply is correct. It comes in one of two styles: *careful* writes the working down (and, for a verdict,
compares the result with the claim character by character), *terse* gives the boxed answer at once, which is more
than a net of this size can compute. The mixture of the two decides how often the model works before it answers.

    careful  47+38:7+8=15, 4+3+1=8, =85. 8,8= 5,7≠ \boxed{No}
    terse    \boxed{No}
"""

import random
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from sparkcli.builtin.tiny_math import workings
from sparkcli.builtin.tiny_math.task import WORDINGS, Problem, draw, latex, word

TEMPLATES = Path(__file__).parents[2] / "method" / "templates"
SAME, DIFFERENT, BLANK = "= ", "≠ ", "_"
FINISH = ". "

Ability = Literal["solve", "judge", "compare", "reflect"]
Value = tuple[int, int]
ABILITIES: tuple[Ability, ...] = ("solve", "judge", "compare", "reflect")


@dataclass(frozen=True, slots=True)
class Mixture:
    """Shares of what is demonstrated; the abilities' weights need not add up to 1."""

    careful: float
    hard: float = 0.2
    solve: float = 0.25
    judge: float = 0.27
    compare: float = 0.23
    reflect: float = 0.25


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One user message and the reply to imitate."""

    ability: Ability
    prompt: str
    reply: str


@cache
def templates(kind: str) -> tuple[dict[str, str | list[str]], ...]:
    """The product's own prompt wordings of one kind: `pointwise`, `pairwise` or `reflection`."""
    return tuple(tomllib.loads((TEMPLATES / f"{kind}.toml").read_text())["template"])


def demonstrate(mixture: Mixture, rng: random.Random, held_out: bool = False) -> Demonstration:
    """One demonstration, of a problem on the training side of the hold-out or (to measure with) on the other."""
    while True:
        problem = draw("hard" if rng.random() < mixture.hard else "standard", rng)
        if problem.held_out == held_out:
            break
    weights = (mixture.solve, mixture.judge, mixture.compare, mixture.reflect)
    (ability,) = rng.choices(ABILITIES, weights)
    careful = rng.random() < mixture.careful
    match ability:
        case "judge":
            return _judge(problem, careful, rng)
        case "compare":
            return _compare(problem, careful, rng)
        case "reflect":
            return _reflect(problem, careful, rng)
        case _:
            return Demonstration("solve", _question(problem, rng), _solution(problem, careful, rng))


def comparison(own: Value, claimed: Value) -> str:
    """Both results side by side, character by character, up to the first difference.

    >>> comparison((85, 1), (87, 1)), comparison((8, 1), (85, 1))
    ('8,8= 5,7≠ ', '8,8= _,5≠ ')
    """
    ours, theirs = plain(own), plain(claimed)
    length = max(len(ours), len(theirs))
    text = ""
    for mine, other in zip(ours.ljust(length, BLANK), theirs.ljust(length, BLANK), strict=True):
        text += f"{mine},{other}{SAME if mine == other else DIFFERENT}"
        if mine != other:
            break
    return text


def plain(value: Value) -> str:
    """The result as it stands in a working: `85` or `3/4`."""
    return str(value[0]) if value[1] == 1 else f"{value[0]}/{value[1]}"


def boxed(answer: str) -> str:
    """The form in which every final answer and verdict is given."""
    return rf"\boxed{{{answer}}}"


def _question(problem: Problem, rng: random.Random) -> str:
    return word(problem, rng.randrange(WORDINGS))


def _working(problem: Problem, careful: bool, rng: random.Random) -> str:
    return workings.work(problem, rng)[0] + FINISH if careful else ""


def _solution(problem: Problem, careful: bool, rng: random.Random) -> str:
    return _working(problem, careful, rng) + boxed(latex(problem.value))


def _wrong_value(problem: Problem, rng: random.Random) -> Value:
    """A wrong result: from a slip in the working, or one digit changed."""
    if rng.random() < 0.6:
        return workings.slip(problem, rng)[1]
    numerator, denominator = problem.value
    while (numerator, denominator) == problem.value:
        digits = list(str(numerator))
        digits[rng.randrange(len(digits))] = str(rng.randrange(10))
        numerator = int("".join(digits))
    return numerator, denominator


def _written(value: Value, rng: random.Random) -> str:
    return plain(value) if rng.random() < 0.1 else latex(value)


def _judge(problem: Problem, careful: bool, rng: random.Random) -> Demonstration:
    template = rng.choice(templates("pointwise"))
    right = rng.random() < 0.5
    claimed = problem.value if right else _wrong_value(problem, rng)
    prompt = _fill(template, question=_question(problem, rng), answer=_written(claimed, rng))
    reply = _working(problem, careful, rng) + (comparison(problem.value, claimed) if careful else "")
    return Demonstration("judge", prompt, reply + boxed(template["labels"][0 if right else 1]))


def _compare(problem: Problem, careful: bool, rng: random.Random) -> Demonstration:
    template = rng.choice(templates("pairwise"))
    first_is_right = rng.random() < 0.5
    claims = [problem.value, _wrong_value(problem, rng)]
    if not first_is_right:
        claims.reverse()
    answer_a, answer_b = (_written(claim, rng) for claim in claims)
    prompt = _fill(template, question=_question(problem, rng), answer_a=answer_a, answer_b=answer_b)
    reply = _working(problem, careful, rng) + (comparison(problem.value, claims[0]) if careful else "")
    return Demonstration("compare", prompt, reply + boxed(template["labels"][0 if first_is_right else 1]))


def _reflect(problem: Problem, careful: bool, rng: random.Random) -> Demonstration:
    template = rng.choice(templates("reflection"))
    right = template["kind"] == "revise" and rng.random() < 0.3
    if template["attempt"] == "answer":
        attempt = _written(problem.value if right else _wrong_value(problem, rng), rng)
    else:
        attempt = _attempt(problem, right, rng)
    prompt = _fill(template, question=_question(problem, rng), attempt=attempt)
    return Demonstration("reflect", prompt, _solution(problem, careful, rng))


def _attempt(problem: Problem, right: bool, rng: random.Random) -> str:
    if rng.random() < 0.5:
        return boxed(latex(problem.value if right else _wrong_value(problem, rng)))
    text, value = (workings.work if right else workings.slip)(problem, rng)
    return text + FINISH + boxed(latex(value))


def _fill(template: dict[str, str | list[str]], **values: str) -> str:
    text = str(template["text"])
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", value)
    return text
