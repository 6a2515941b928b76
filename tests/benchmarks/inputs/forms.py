r"""Pairs of a gold answer and an answer of one form or of two, made up from a seed: no two with the same values.

An equal answer is written another way than the gold: `\frac{1}{2}` as 0.5, a polynomial in another order, a matrix
within other brackets. An unequal one has other values, and may have the other spellings too.
"""

import math
import random
from collections.abc import Callable, Iterator

Pair = tuple[str, str]
Spellings = list[str]
"""One answer as it can be written; the first is the gold answer."""


def pairs(form: str, seed: int, *, rows: int, equal: bool) -> Iterator[Pair]:
    """Gold answers and answers of one form."""
    numbers = random.Random(f"{seed} {form} {equal}")
    made = _distinct(FORMS[form], numbers)
    for _ in range(rows):
        gold, *others = next(made)
        yield gold, numbers.choice(others if equal else next(made))


def mixed(gold: str, answer: str, seed: int, *, rows: int) -> Iterator[Pair]:
    """Gold answers of one form, answers of another."""
    numbers = random.Random(f"{seed} {gold} {answer}")
    golds, answers = _distinct(FORMS[gold], numbers), _distinct(FORMS[answer], numbers)
    for _ in range(rows):
        yield next(golds)[0], numbers.choice(next(answers))


def _distinct(form: Callable[[random.Random], Spellings], numbers: random.Random) -> Iterator[Spellings]:
    seen: set[str] = set()
    while True:
        spellings = form(numbers)
        if spellings[0] not in seen:
            seen.add(spellings[0])
            yield spellings


def _integer(numbers: random.Random) -> Spellings:
    value = numbers.randrange(1000, 10**6)
    return [f"{value}", f"{value:,}", f"{value}.0", rf"{value} \text{{ cm}}"]


def _fraction(numbers: random.Random) -> Spellings:
    under = numbers.choice((8, 16, 40, 80, 125, 200))
    over = numbers.choice([over for over in range(1, 60 * under) if math.gcd(over, under) == 1])
    return [rf"\frac{{{over}}}{{{under}}}", rf"\dfrac{{{over}}}{{{under}}}", f"{over}/{under}", f"{over / under}",
            rf"\frac{{{3 * over}}}{{{3 * under}}}"]


def _square_free(numbers: random.Random) -> int:
    return numbers.choice([n for n in range(2, 100) if all(n % (root * root) for root in range(2, 10))])


def _root(numbers: random.Random) -> Spellings:
    over, under = numbers.randrange(2, 200), _square_free(numbers)
    return [rf"{over}\sqrt{{{under}}}", rf"{over} \cdot \sqrt{{{under}}}", rf"\sqrt{{{over * over * under}}}",
            rf"\sqrt{{{under}}} \cdot {over}", rf"\frac{{{over * under}}}{{\sqrt{{{under}}}}}"]


def _decimal(numbers: random.Random) -> Spellings:
    value = numbers.randrange(1, 10**6) * 2 + 1
    return [f"{value / 1000:.3f}", f"{value / 1000:.3f}0", rf"\frac{{{value}}}{{1000}}", rf"{value} \times 10^{{-3}}"]


def _pair(numbers: random.Random) -> Spellings:
    one, other, under = numbers.randrange(1, 400), numbers.randrange(1, 400), numbers.choice((2, 4, 5))
    return [rf"({one}, -\frac{{{other}}}{{{under}}})", rf"\left({one}, -\frac{{{other}}}{{{under}}}\right)",
            f"({one}, {-other / under})", rf"({one}, \dfrac{{-{other}}}{{{under}}})", f"({one}.0,-{other}/{under})"]


def _polynomial(numbers: random.Random) -> Spellings:
    a, b, c = numbers.randrange(2, 60), numbers.randrange(2, 60), numbers.randrange(1, 60)
    return [f"{a}x^2 + {b}x - {c}", f"{b}x + {a}x^{{2}} - {c}", f"x({a}x + {b}) - {c}", f"-{c}+{b}x+{a}x^2",
            rf"{a} \cdot x^2 + {b} \cdot x - {c}"]


def _interval(numbers: random.Random) -> Spellings:
    low, high = numbers.randrange(1, 400), numbers.randrange(1, 400)
    return [rf"[-\frac{{{low}}}{{4}}, {high})", rf"\left[-\frac{{{low}}}{{4}}, {high}\right)",
            f"[{-low / 4}, {high})", rf"[-\dfrac{{{low}}}{{4}}, {high}.0)"]


def _set(numbers: random.Random) -> Spellings:
    one, two, three = sorted(numbers.sample(range(-300, 300), 3))
    return [rf"\{{{one}, {two}, {three}\}}", rf"\{{{three}, {one}, {two}\}}",
            rf"\left\{{{two}, {three}, {one}\right\}}", f"{one}, {three}, {two}"]


def _text(numbers: random.Random) -> Spellings:
    name = "".join(numbers.choice("bdfgklmnprstv") + numbers.choice("aeiou") for _ in range(4)).title()
    return [rf"\text{{{name}}}", name, rf"\textbf{{{name}}}", rf"\text{{ {name.lower()} }}"]


def _multiple_of_pi(numbers: random.Random) -> Spellings:
    over, under = numbers.randrange(1, 2000), numbers.choice((3, 4, 5, 6, 7, 8, 12))
    return [rf"\frac{{{over}\pi}}{{{under}}}", rf"\dfrac{{{over}\pi}}{{{under}}}", rf"\frac{{{over}}}{{{under}}}\pi",
            rf"{over}\pi/{under}", rf"\frac{{{over}}}{{{under}}} \cdot \pi"]


def _expression_with_a_root(numbers: random.Random) -> Spellings:
    one, under = numbers.randrange(1, 200), _square_free(numbers)
    return [rf"\frac{{{one}+\sqrt{{{under}}}}}{{2}}", rf"\frac{{\sqrt{{{under}}}+{one}}}{{2}}",
            rf"({one}+\sqrt{{{under}}})/2", rf"\frac{{{one}}}{{2}} + \frac{{\sqrt{{{under}}}}}{{2}}",
            rf"\dfrac{{{2 * one} + \sqrt{{{4 * under}}}}}{{4}}"]


def _equation(numbers: random.Random) -> Spellings:
    a, b = numbers.randrange(2, 120), numbers.randrange(1, 120)
    return [f"y = {a}x + {b}", f"y={b}+{a}x", f"y - {a}x = {b}", f"{a}x - y + {b} = 0", f"{a}x + {b}"]


def _matrix(numbers: random.Random) -> Spellings:
    a, b, c, d = (numbers.randrange(-60, 60) for _ in range(4))
    rows = rf"{a} & {b} \\ {c} & \frac{{{d}}}{{2}}"
    return [rf"\begin{{pmatrix}} {rows} \end{{pmatrix}}", rf"\begin{{bmatrix}} {rows} \end{{bmatrix}}",
            rf"\begin{{pmatrix}}{a}&{b}\\{c}&{d / 2}\end{{pmatrix}}",
            rf"\left[\begin{{array}}{{cc}} {rows} \end{{array}}\right]"]


FORMS: dict[str, Callable[[random.Random], Spellings]] = {
    "integer": _integer, "fraction": _fraction, "root": _root, "decimal": _decimal, "pair": _pair,
    "polynomial": _polynomial, "interval": _interval, "set": _set, "text": _text, "multiple of π": _multiple_of_pi,
    "expression with a root": _expression_with_a_root, "equation": _equation, "matrix": _matrix}

MIXED: tuple[Pair, ...] = (
    ("pair", "fraction"), ("root", "pair"), ("interval", "set"), ("polynomial", "multiple of π"), ("integer", "root"),
    ("fraction", "root"), ("multiple of π", "decimal"), ("decimal", "expression with a root"), ("set", "integer"),
    ("set", "pair"), ("pair", "interval"), ("matrix", "pair"), ("integer", "matrix"), ("equation", "integer"),
    ("polynomial", "equation"), ("equation", "pair"), ("text", "integer"), ("expression with a root", "polynomial"),
    ("multiple of π", "matrix"), ("interval", "equation"))
"""Forms of the gold answer and of the answer."""
