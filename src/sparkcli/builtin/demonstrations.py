r"""What the warm start imitates: a prompt in any of the wordings, and a correct reply to it.

Every reply is correct. It comes in one of two styles: *careful* writes the working down (and, for a verdict,
compares the result with the claim character by character), *terse* gives the boxed answer at once, which is more
than a net of this size can compute. The mixture of the two decides how often the model works before it answers.

    careful  47+38:7+8=15, 4+3+1=8, =85. 8,8= 5,7≠ \boxed{No}
    terse    \boxed{No}
"""

import random
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Generic, Literal

from sparkcli.builtin import workings
from sparkcli.builtin.streams import P, Tier, Value, latex, plain
from sparkcli.builtin.workings import Scratch

TEMPLATES = Path(__file__).parents[1] / "method" / "templates"
SAME, DIFFERENT, BLANK = "= ", "≠ ", "_"
FINISH = ". "

Ability = Literal["look", "solve", "judge", "compare", "reflect"]
ABILITIES: tuple[Ability, ...] = ("look", "solve", "judge", "compare", "reflect")


@dataclass(frozen=True, slots=True)
class Mixture:
    """Shares of what is demonstrated; the abilities' weights need not add up to 1."""

    careful: float
    hard: float = 0.2
    solve: float = 0.25
    judge: float = 0.27
    compare: float = 0.23
    reflect: float = 0.25
    look: float = 0.0
    """Listing what a picture shows; only of pictures."""
    single: float = 0.5
    """Share of the pictures to be listed that show a single thing."""


@dataclass(frozen=True, slots=True)
class Demonstration(Generic[P]):
    """One user message and the reply to imitate; a problem about a picture is shown with it."""

    ability: Ability
    problem: P
    prompt: str
    reply: str


@dataclass(frozen=True, slots=True)
class Subject(Generic[P]):
    """A task as it is taught."""

    draw: Callable[[Tier, random.Random], P]
    word: Callable[[P, int], str]
    wordings: int
    solve: Callable[[P, Scratch], Value]
    """Works a problem out on a sheet."""
    look: Callable[[P, float, random.Random], tuple[P, str, str]] | None = None
    """A problem (or, at the share given, a single thing of it), the request to list what it shows, and the list."""

    def demonstrate(self, mixture: Mixture, rng: random.Random, held_out: bool = False) -> Demonstration[P]:
        """One demonstration, of a problem on the training side of the hold-out or (to measure with) on the other."""
        while True:
            problem = self.draw("hard" if rng.random() < mixture.hard else "standard", rng)
            if problem.held_out == held_out:
                break
        weights = [getattr(mixture, ability) for ability in ABILITIES]
        (ability,) = rng.choices(ABILITIES, weights)
        careful = rng.random() < mixture.careful
        if ability == "look":
            assert self.look is not None, "nothing to look at"
            return Demonstration("look", *self.look(problem, mixture.single, rng))
        replies = {"solve": self._solve, "judge": self._judge, "compare": self._compare, "reflect": self._reflect}
        return Demonstration(ability, problem, *replies[ability](problem, careful, rng))

    def work(self, problem: P, rng: random.Random) -> str:
        """The correct working."""
        return workings.work(lambda sheet: self.solve(problem, sheet), rng)[0]

    def slip(self, problem: P, rng: random.Random) -> tuple[str, Value]:
        """A working with one wrong step, and its result, which is wrong."""
        return workings.slip(lambda sheet: self.solve(problem, sheet), rng)

    def _question(self, problem: P, rng: random.Random) -> str:
        return self.word(problem, rng.randrange(self.wordings))

    def _working(self, problem: P, careful: bool, rng: random.Random) -> str:
        return self.work(problem, rng) + FINISH if careful else ""

    def _solution(self, problem: P, careful: bool, rng: random.Random) -> str:
        return self._working(problem, careful, rng) + boxed(latex(problem.value))

    def _solve(self, problem: P, careful: bool, rng: random.Random) -> tuple[str, str]:
        return self._question(problem, rng), self._solution(problem, careful, rng)

    def _judge(self, problem: P, careful: bool, rng: random.Random) -> tuple[str, str]:
        template = rng.choice(templates("pointwise"))
        right = rng.random() < 0.5
        claimed = problem.value if right else self._wrong_value(problem, rng)
        prompt = fill(template, question=self._question(problem, rng), answer=_written(claimed, rng))
        return prompt, self._verdict(problem, claimed, str(template["labels"][0 if right else 1]), careful, rng)

    def _compare(self, problem: P, careful: bool, rng: random.Random) -> tuple[str, str]:
        template = rng.choice(templates("pairwise"))
        first_is_right = rng.random() < 0.5
        claims = [problem.value, self._wrong_value(problem, rng)]
        if not first_is_right:
            claims.reverse()
        answer_a, answer_b = (_written(claim, rng) for claim in claims)
        prompt = fill(template, question=self._question(problem, rng), answer_a=answer_a, answer_b=answer_b)
        label = str(template["labels"][0 if first_is_right else 1])
        return prompt, self._verdict(problem, claims[0], label, careful, rng)

    def _verdict(self, problem: P, claimed: Value, label: str, careful: bool, rng: random.Random) -> str:
        compared = comparison(problem.value, claimed) if careful else ""
        return self._working(problem, careful, rng) + compared + boxed(label)

    def _reflect(self, problem: P, careful: bool, rng: random.Random) -> tuple[str, str]:
        template = rng.choice(templates("reflection"))
        right = template["kind"] == "revise" and rng.random() < 0.3
        if template["attempt"] == "answer":
            attempt = _written(problem.value if right else self._wrong_value(problem, rng), rng)
        else:
            attempt = self._attempt(problem, right, rng)
        prompt = fill(template, question=self._question(problem, rng), attempt=attempt)
        return prompt, self._solution(problem, careful, rng)

    def _attempt(self, problem: P, right: bool, rng: random.Random) -> str:
        if rng.random() < 0.5:
            return boxed(latex(problem.value if right else self._wrong_value(problem, rng)))
        text, value = (self.work(problem, rng), problem.value) if right else self.slip(problem, rng)
        return text + FINISH + boxed(latex(value))

    def _wrong_value(self, problem: P, rng: random.Random) -> Value:
        """A wrong result: from a slip in the working, or one digit changed."""
        if rng.random() < 0.6:
            return self.slip(problem, rng)[1]
        numerator, denominator = problem.value
        while (numerator, denominator) == problem.value:
            digits = list(str(numerator))
            digits[rng.randrange(len(digits))] = str(rng.randrange(10))
            numerator = int("".join(digits))
        return numerator, denominator


@cache
def templates(kind: str) -> tuple[dict[str, str | list[str]], ...]:
    """The product's own prompt wordings of one kind: `pointwise`, `pairwise` or `reflection`."""
    return tuple(tomllib.loads((TEMPLATES / f"{kind}.toml").read_text())["template"])


def fill(template: dict[str, str | list[str]], **values: str) -> str:
    """The wording with its placeholders filled."""
    text = str(template["text"])
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", value)
    return text


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


def boxed(answer: str) -> str:
    """The form in which every final answer and verdict is given."""
    return rf"\boxed{{{answer}}}"


def _written(value: Value, rng: random.Random) -> str:
    return plain(value) if rng.random() < 0.1 else latex(value)
