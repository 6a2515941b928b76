"""The arithmetic problems as they are taught."""

from sparkcli.builtin.demonstrations import Subject
from sparkcli.builtin.streams import Value
from sparkcli.builtin.tiny_math.task import WORDINGS, Problem, draw, word
from sparkcli.builtin.workings import Scratch


def solve(problem: Problem, sheet: Scratch) -> Value:
    """Works the problem out in writing."""
    match problem.family, problem.numbers:
        case "equation", (k, x, *shifts):
            undone = sheet.total([k * x + sum(shifts), *(-n for n in reversed(shifts))])
            return sheet.divide(undone, k), 1
        case "fraction", (n1, d1, n2, d2):
            left, right = sheet.multiply(n1, d2), sheet.multiply(abs(n2), d1)
            denominator = sheet.fact(f"{d1}*{d2}", d1 * d2)
            return sheet.total([left, right if n2 > 0 else -right]), denominator
        case _:
            return sheet.total(list(problem.numbers)), 1


SUBJECT = Subject(draw, word, WORDINGS, solve)
