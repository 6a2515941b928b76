"""Written arithmetic: every column, carry and borrow on paper, as a careful pupil would put it.

A `Scratch` writes the steps down. Told to slip, it gets one of them wrong and carries the error through to the
end, which makes the plausible wrong attempts that judges and reflection must learn from.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from sparkcli.builtin.streams import Value

SEPARATOR = ", "
SLIPS = (-3, -2, -1, -1, 1, 1, 2, 3)


class SlipError(Exception):
    """The slip made the rest of the working impossible (a negative difference)."""


@dataclass(slots=True)
class Scratch:
    """A sheet of working. `slip_at` is the number of the elementary step that goes wrong; None: none does."""

    rng: random.Random
    slip_at: int | None = None
    lines: list[str] = field(default_factory=list)
    facts: int = 0

    def fact(self, expression: str, value: int) -> int:
        """Writes `expression=value` and returns the value, or another one where the sheet slips."""
        if self.facts == self.slip_at:
            value = max(0, value + self.rng.choice(SLIPS))
        self.facts += 1
        self.lines.append(f"{expression}={value}")
        return value

    def heading(self, expression: str) -> None:
        """Writes what is to be worked out by columns: `47+38:` before the first of them."""
        self.lines.append(f"{expression}:")

    def result(self, value: int) -> int:
        """Writes the result that the columns add up to: `=85`."""
        self.lines.append(f"={value}")
        return value

    def text(self) -> str:
        """The sheet as one line."""
        return SEPARATOR.join(self.lines).replace(f":{SEPARATOR}", ":")

    def add(self, a: int, b: int) -> int:
        """a + b by columns from the right; a column with nothing to add is not written."""
        if max(a, b) < 10:
            return self.fact(f"{a}+{b}", a + b)
        self.heading(f"{a}+{b}")
        digits: list[int] = []
        carry = 0
        for column in range(max(len(str(a)), len(str(b)))):
            x, y = _digit(a, column), _digit(b, column)
            parts = [str(n) for n in (x, y) if n is not None] + ["1"] * carry
            total = (x or 0) + (y or 0) + carry
            if len(parts) > 1:
                total = self.fact("+".join(parts), total)
            carry, digit = min(total // 10, 1), total % 10
            digits.append(digit)
        return self.result(_number([*digits, carry]))

    def subtract(self, a: int, b: int) -> int:
        """a - b by columns from the right, a borrowed ten written as `1x`."""
        if b > a:
            raise SlipError
        if a < 10:
            return self.fact(f"{a}-{b}", a - b)
        self.heading(f"{a}-{b}")
        digits: list[int] = []
        borrow = 0
        for column in range(len(str(a))):
            x, y = _digit(a, column) or 0, _digit(b, column)
            parts = ([str(y)] if y is not None else []) + ["1"] * borrow
            left = x - borrow - (y or 0)
            borrow = int(left < 0)
            expression = "-".join([str(x + 10 * borrow), *parts])
            digits.append(min(9, self.fact(expression, left + 10 * borrow)) if parts else x)
        return self.result(_number(digits))

    def multiply(self, a: int, k: int) -> int:
        """a * k for a single digit k: by heart up to twelve, else by columns."""
        if a <= 12:
            return self.fact(f"{a}*{k}", a * k)
        self.heading(f"{a}*{k}")
        digits: list[int] = []
        carry = 0
        for column in range(len(str(a))):
            x = _digit(a, column) or 0
            total = self.fact(f"{x}*{k}" + (f"+{carry}" if carry else ""), x * k + carry)
            carry, digit = divmod(total, 10)
            digits.append(digit)
        return self.result(_number([*digits, carry]))

    def divide(self, a: int, k: int) -> int:
        """a / k for a single digit k, by long division."""
        self.heading(f"{a}/{k}")
        quotient = rest = 0
        for digit in str(a):
            rest = 10 * rest + int(digit)
            if rest >= k or quotient:
                part = self.fact(f"{rest}/{k}", rest // k)
                left = max(0, rest - part * k)
                self.lines[-1] += f"r{left}" if left else ""
                quotient, rest = 10 * quotient + part, left
        return self.result(quotient)

    def total(self, terms: list[int]) -> int:
        """The sum of signed terms, the first positive."""
        total = terms[0]
        for term in terms[1:]:
            total = self.add(total, term) if term > 0 else self.subtract(total, -term)
        return total


def _digit(number: int, column: int) -> int | None:
    text = str(number)
    return int(text[-1 - column]) if column < len(text) else None


def _number(digits: list[int]) -> int:
    return sum(digit * 10**column for column, digit in enumerate(digits))


Solve = Callable[[Scratch], Value]
"""Works one problem out on a sheet; numerator and denominator of the result."""


def work(solve: Solve, rng: random.Random) -> tuple[str, Value]:
    """The correct working and its result."""
    sheet = Scratch(rng)
    value = solve(sheet)
    return sheet.text(), value


def slip(solve: Solve, rng: random.Random) -> tuple[str, Value]:
    """A working with one wrong step, and its result, which differs from the right one."""
    sheet = Scratch(rng)
    right = solve(sheet)
    while True:
        wrong = Scratch(rng, slip_at=rng.randrange(sheet.facts))
        try:
            value = solve(wrong)
        except SlipError:
            continue
        if value != right and value[1] > 0:
            return wrong.text(), value
