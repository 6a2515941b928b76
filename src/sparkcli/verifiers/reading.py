"""What verifiers of short answers read from a completion."""

import re

from sparkcli.method.answers import final_answer

_ANSWER_LINE = re.compile(r"(?:^|\n)A:[ \t]*(\S.{0,79})\s*\Z")


def short_answer(completion: str) -> str | None:
    r"""The final answer; else a last line `A: x`, which means option A to others and so is read only here.

    >>> short_answer("It is \\boxed{3}.\nA: 4"), short_answer("2 + 2 = 4\nA: 4"), short_answer("A: 4, or not?\nHm.")
    ('3', '4', None)
    """
    answer = final_answer(completion)
    if answer is not None:
        return answer
    line = _ANSWER_LINE.search(completion[-200:])
    return line[1].rstrip() if line else None
