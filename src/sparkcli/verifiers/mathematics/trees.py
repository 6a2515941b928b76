"""Formulas as trees of numbers and names."""

from decimal import Decimal
from typing import NamedTuple, TypeAlias

PI = r"\pi"
"""The name of a constant, beside the names of variables."""
INFINITY = Decimal("Infinity")
INTERVALS = ("()", "[]", "[)", "(]")
"""Brackets of two numbers."""


class Operation(NamedTuple):
    """`+ * / ^ root -` of numbers, names and operations; the unary minus has one operand."""

    sign: str
    operands: tuple["Scalar", ...]


Scalar: TypeAlias = Decimal | str | Operation


class Equation(NamedTuple):
    """Two sides; the left one of `f(x) = …` is the name `f(x)`."""

    left: Scalar
    right: Scalar


class Collection(NamedTuple):
    r"""What stands within brackets, named by both, such as `[)`; `{}` holds sets and lists without brackets.

    A matrix is its rows one after the other, within `matrix` and its number of columns; a union its intervals, within
    `cup`.
    """

    brackets: str
    items: tuple["Tree", ...]


Tree: TypeAlias = Scalar | Equation | Collection
