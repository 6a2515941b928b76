"""Arithmetic problems: sums, linear equations and fractions, in two tiers and three splits.

    train   standard tier: three two-digit numbers; `kx ± b = c`; fractions with denominators to 9
    test    standard tier, held out
    hard    held out, larger: four numbers to 199; `kx ± a ± b = c`; numerators to 59

One problem in eight is held out, by a hash of its canonical operands: neither another wording nor an exchange
of commuting terms carries a problem from one side to the other. The split `hard` holds held-out problems only.
"""

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from sparkcli.builtin.streams import Split, Tier, Value, is_held_out, latex, stream
from sparkcli.records import Prompt

Family = Literal["sum", "equation", "fraction"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem without its wording.

    `numbers` by family: sum: the signed terms, the first positive; equation: k, x and the signed shifts of
    `kx + shifts = c`; fraction: n1, d1, n2, d2 of `n1/d1 + n2/d2`, n2 negative for a difference.
    """

    family: Family
    numbers: tuple[int, ...]

    @property
    def canonical(self) -> tuple[object, ...]:
        """The operands without their order; equal for `a + b` and `b + a`."""
        match self.family, self.numbers:
            case "equation", (k, x, *shifts):
                return ("equation", k, x, *sorted(shifts))
            case "fraction", (n1, d1, n2, d2):
                return ("fraction", *sorted([(n1, d1), (n2, d2)]))
            case _:
                return ("sum", *sorted(self.numbers))

    @property
    def held_out(self) -> bool:
        """Whether the problem is kept from every training split."""
        return is_held_out(self.canonical)

    @property
    def value(self) -> Value:
        """Numerator and denominator of the answer, as written working leaves them: not reduced."""
        match self.family, self.numbers:
            case "equation", (_, x, *_):
                return x, 1
            case "fraction", (n1, d1, n2, d2):
                return n1 * d2 + n2 * d1, d1 * d2
            case _:
                return sum(self.numbers), 1


def draw(tier: Tier, rng: random.Random) -> Problem:
    """One problem of the tier from either side of the hold-out, families equally often."""
    family, make = rng.choice(_FAMILIES)
    while True:
        numbers = make(tier, rng)
        if numbers is not None:
            return Problem(family, numbers)


def _signed(low: int, high: int, rng: random.Random) -> int:
    return rng.choice((1, -1)) * rng.randint(low, high)


def _partial_sums_are_positive(numbers: tuple[int, ...]) -> bool:
    return all(sum(numbers[: count + 1]) > 0 for count in range(len(numbers)))


def _sum(tier: Tier, rng: random.Random) -> tuple[int, ...] | None:
    count, high = (3, 99) if tier == "standard" else (4, 199)
    terms = (rng.randint(11, high), *(_signed(11, high, rng) for _ in range(count - 1)))
    return terms if _partial_sums_are_positive(terms) else None


def _equation(tier: Tier, rng: random.Random) -> tuple[int, ...] | None:
    count, high = (1, 99) if tier == "standard" else (2, 199)
    k, x = rng.randint(2, 9), rng.randint(2, 30) if tier == "standard" else rng.randint(11, 99)
    shifts = tuple(_signed(11, high, rng) for _ in range(count))
    return (k, x, *shifts) if _partial_sums_are_positive((k * x, *shifts)) else None


def _fraction(tier: Tier, rng: random.Random) -> tuple[int, ...] | None:
    low, high = (1, 12) if tier == "standard" else (13, 59)
    n1, d1, n2, d2 = rng.randint(low, high), rng.randint(2, 9), _signed(low, high, rng), rng.randint(2, 9)
    return (n1, d1, n2, d2) if n1 * d2 + n2 * d1 > 0 else None


_FAMILIES: tuple[tuple[Family, Callable[[Tier, random.Random], tuple[int, ...] | None]], ...] = (
    ("sum", _sum),
    ("equation", _equation),
    ("fraction", _fraction),
)

WORDINGS = 3


def word(problem: Problem, wording: int) -> str:
    """The question: wording 0 is plain, 1 a question, 2 a word problem."""
    match problem.family:
        case "sum":
            return _word_sum(problem.numbers, wording)
        case "equation":
            return _word_equation(problem.numbers, wording)
        case "fraction":
            return _word_fraction(problem.numbers, wording)


def _word_sum(terms: tuple[int, ...], wording: int) -> str:
    if wording == 2:
        events = "".join(f". She gets {n}" if n > 0 else f". She loses {-n}" for n in terms[1:])
        return f"Mia has {terms[0]} coins{events}. How many coins has she now?"
    expression = f"{terms[0]}" + "".join(f"{n:+}" for n in terms[1:])
    return f"Compute {expression}." if wording == 0 else f"What is {expression}?"


def _word_equation(numbers: tuple[int, ...], wording: int) -> str:
    k, x, *shifts = numbers
    c = k * x + sum(shifts)
    if wording == 2:
        changes = "".join(f", then {'increased' if n > 0 else 'decreased'} by {abs(n)}" for n in shifts)
        return f"Multiplied by {k}{changes}, a number becomes {c}. What is the number?"
    equation = f"{k}x" + "".join(f"{n:+}" for n in shifts) + f"={c}"
    return f"Solve {equation} for x." if wording == 0 else f"What is x if {equation}?"


def _word_fraction(numbers: tuple[int, ...], wording: int) -> str:
    n1, d1, n2, d2 = numbers
    if wording == 2:
        event = f"{abs(n2)}/{d2} litres are {'added' if n2 > 0 else 'taken out'}."
        return f"A jug holds {n1}/{d1} litres. {event} How many litres does it hold now?"
    expression = f"{n1}/{d1}{'+' if n2 > 0 else '-'}{abs(n2)}/{d2}"
    return f"Compute {expression} as a fraction." if wording == 0 else f"Which fraction is {expression}?"


PHRASES = (
    "Compute ", "What is ",
    "Mia has ", " coins", ". She gets ", ". She loses ", ". How many coins has she now?",
    "Solve ", " for x.", "What is x if ",
    "Multiplied by ", ", then increased by ", ", then decreased by ", ", a number becomes ", ". What is the number?",
    " as a fraction.", "Which fraction is ", "A jug holds ", " litres. ", " litres are added.",
    " litres are taken out.", " How many litres does it hold now?",
)  # fmt: skip
"""The fixed words of the questions; each is one token of the built-in model."""


def problems(split: Split, seed: int, limit: int) -> Iterator[Prompt]:
    """Up to `limit` different problems of a split.

    The same seed gives the same stream, and a shorter stream is the beginning of a longer one.
    Ends early where the split has no more problems (several thousand are always found).
    """
    rng = random.Random(f"tiny-math/{split}/{seed}")
    for problem in stream(draw, split, rng, limit):
        yield _prompt(problem, split, rng.randrange(WORDINGS))


def _prompt(problem: Problem, split: Split, wording: int) -> Prompt:
    text = word(problem, wording)
    digest = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
    return Prompt(id=f"tiny-math/{split}/{digest}", prompt=text, answer=latex(problem.value), verifier="math")
