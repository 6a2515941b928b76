"""Values of what `latex` reads, with 50 digits."""

import decimal
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from decimal import Decimal

from sparkcli.verifiers.mathematics.trees import Operation, Scalar

_TRAPS = [decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow, decimal.Underflow]
_CONTEXT = decimal.Context(prec=50, Emin=-9999, Emax=9999, traps=_TRAPS)
PI_DIGITS = Decimal("3.1415926535897932384626433832795028841971693993751058209749445923")
"""More than are computed with, so that every operation on them is known to be inexact."""
_LARGEST_TERM = Decimal("1e20")
"""Of rounded terms: the difference of larger ones has too few digits left."""
Point = Mapping[str, Decimal]


def precise() -> AbstractContextManager[decimal.Context]:
    """The arithmetic that `value` is called within; the flag `Inexact` of its context says whether it rounded."""
    return decimal.localcontext(_CONTEXT)


def value(scalar: Scalar, point: Point) -> Decimal:
    """The value where names have the values of `point`.

    Raises:
        ArithmeticError: it has none that is real, or none that can be computed well.
    """
    if isinstance(scalar, Operation):
        return _FUNCTIONS[scalar.sign](*[value(operand, point) for operand in scalar.operands])
    return point[scalar] if isinstance(scalar, str) else scalar


def _sum(*terms: Decimal) -> Decimal:
    if max(map(abs, terms)) > _LARGEST_TERM and decimal.getcontext().flags[decimal.Inexact]:
        raise decimal.InvalidOperation
    return sum(terms, Decimal())


def _product(*factors: Decimal) -> Decimal:
    return math.prod(factors, start=Decimal(1))


def _power(base: Decimal, exponent: Decimal) -> Decimal:
    if (2 * exponent) % 2 == 1:
        return base.sqrt() ** (2 * exponent)
    return base**exponent


def _root(radicand: Decimal, degree: Decimal) -> Decimal:
    """By Newton's method: each step doubles the digits of the machine's root."""
    if degree == 2:
        return radicand.sqrt()
    if radicand <= 0:
        raise decimal.InvalidOperation
    root = Decimal(float(radicand) ** (1 / float(degree)))
    for _ in range(3):
        root += (radicand / root ** (degree - 1) - root) / degree
    return root


_FUNCTIONS: dict[str, Callable[..., Decimal]] = {
    "+": _sum, "*": _product, "/": lambda over, under: over / under, "-": lambda operand: -operand,
    "^": _power, "root": _root}
