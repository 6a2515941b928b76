"""What the tasks' problems have in common: tiers, splits, the hold-out, and streams without repetition.

    train   standard tier
    test    standard tier, held out
    hard    held out, larger

One problem in eight is held out, by a hash of its canonical form, so that another wording of a problem is on its side.
"""

import hashlib
import random
from collections.abc import Callable, Iterator
from typing import Literal, Protocol, TypeVar

Split = Literal["train", "test", "hard"]
Tier = Literal["standard", "hard"]
Value = tuple[int, int]
"""Numerator and denominator of an answer, as written working leaves them: not reduced."""

HELD_OUT_ONE_IN = 8
PATIENCE = 10_000
"""Draws without a new problem after which a stream ends: its problems are used up."""


class Problem(Protocol):
    """One problem without its wording."""

    @property
    def canonical(self) -> tuple[object, ...]:
        """Equal for problems that differ by order only."""

    @property
    def held_out(self) -> bool:
        """Whether the problem is kept from every training split."""

    @property
    def value(self) -> Value:
        """The answer."""


P = TypeVar("P", bound=Problem)


def is_held_out(canonical: tuple[object, ...]) -> bool:
    """The side of the hold-out that a canonical form falls on."""
    digest = hashlib.blake2b(repr(canonical).encode(), digest_size=8).digest()
    return int.from_bytes(digest) % HELD_OUT_ONE_IN == 0


def stream(draw: Callable[[Tier, random.Random], P], split: Split, rng: random.Random,
           limit: int) -> Iterator[P]:
    """Up to `limit` different problems of a split; `rng` may be used between two of them.

    Ends early where the split has no more problems.
    """
    tier: Tier = "hard" if split == "hard" else "standard"
    seen: set[tuple[object, ...]] = set()
    misses = 0
    while len(seen) < limit and misses < PATIENCE:
        problem = draw(tier, rng)
        if problem.held_out == (split == "train") or problem.canonical in seen:
            misses += 1
            continue
        misses = 0
        seen.add(problem.canonical)
        yield problem


def latex(value: Value) -> str:
    r"""The result as gold answers have it.

    >>> latex((7, 1)), latex((3, 4))
    ('7', '\\frac{3}{4}')
    """
    numerator, denominator = value
    return str(numerator) if denominator == 1 else rf"\frac{{{numerator}}}{{{denominator}}}"


def plain(value: Value) -> str:
    """The result as it stands in a working: `85` or `3/4`."""
    return str(value[0]) if value[1] == 1 else f"{value[0]}/{value[1]}"
