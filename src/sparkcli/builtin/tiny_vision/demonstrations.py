r"""The pictures as they are taught: the things asked for are read off first, then calculated with.

    red=47, blue=38, 47+38:7+8=15, 4+3+1=8, =85. \boxed{85}

To ground its words the model is first shown pictures, many of a single thing, and lists what it sees.
"""

import random
from dataclasses import replace

from sparkcli.builtin.demonstrations import Subject
from sparkcli.builtin.streams import Value
from sparkcli.builtin.tiny_vision.problem import COLOURS, Problem
from sparkcli.builtin.tiny_vision.task import WORDINGS, draw, word
from sparkcli.builtin.workings import SEPARATOR, Scratch

LOOK = "List what the picture shows."


def solve(problem: Problem, sheet: Scratch) -> Value:
    """Reads the things asked for, then works the problem out in writing."""
    shown = dict(problem.shown)
    read = [(sheet.fact(colour, shown[colour]), factor) for colour, factor in problem.asked]
    terms = [sheet.multiply(value, factor) if factor > 1 else factor * value for value, factor in read]
    return sheet.total(terms), 1


def look(problem: Problem, single: float, rng: random.Random) -> tuple[Problem, str, str]:
    """The problem, or one with a single thing of it, the request to list, and the list by colour."""
    if rng.random() < single:
        problem = replace(problem, shown=(rng.choice(problem.shown),))
    seen = sorted(problem.shown, key=lambda thing: COLOURS.index(thing[0]))
    return problem, LOOK, SEPARATOR.join(f"{colour}={value}" for colour, value in seen)


SUBJECT = Subject(draw, word, WORDINGS, solve, look)
