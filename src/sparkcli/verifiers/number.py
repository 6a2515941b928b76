r"""A number within a tolerance: how it is written, currencies and units do not matter.

    1,234   1 234   1{,}234   1'234   12,34,567   1.234.567   1.234,56      3/4   2\frac{1}{4}   2 1/4   2½
    4.5e3   4.5 \times 10^{3}   10³      about 5   \approx 5   x = 5      $5   5 €   USD 5   Rs. 5   5 km/h   5 m^2

A percent sign or a word like `million` scales the number. Where only one of the two is scaled, it counts with its
scale or without: the gold answer to "how many percent" may be 50 or 50%, to "which share" 0.5 or 50%.

Two whole numbers are compared exactly, unless a tolerance above the defaults is asked for: those only cover rounding.
Limits: `1.234` is a decimal and `3,5` no number (it may be two); units are neither compared nor converted; number
words, ranges, times, complex and infinite numbers are no numbers; of `2x = 10` the right side is read.
"""

import math

from sparkcli.method.answers import Reading
from sparkcli.verifiers import reading as readings
from sparkcli.verifiers.base import Finding, Options, Verifier
from sparkcli.verifiers.reading.quantity import Quantity, quantity

_REL_TOL = 1e-6


def read(gold: str, completion: str, options: Options) -> Reading | None:
    """The final answer, if it is a number."""
    reading = readings.short_answer(completion, options["reading"])
    return reading if reading and quantity(reading.text) is not None else None


def check(gold: str, answer: str, options: Options) -> Finding:
    """Compares within the larger of the two tolerances; the relative one is of the larger number."""
    expected, found = quantity(gold), quantity(answer)
    if expected is None:
        return Finding("gold_unparseable", f"the gold answer {gold[:80]!r} is not a number")
    if found is None:
        return Finding("wrong", "not a number")
    if _are_other_integers(expected, found, options):
        return Finding("wrong", f"{found} is not {expected}")
    for one, other in _comparisons(expected, found):
        if _is_close(one, other, options["rel_tol"], options["abs_tol"]):
            return Finding("correct", f"{found} is within the tolerance of {expected}")
    return Finding("wrong", f"{found} is not within the tolerance of {expected}")


def validate(options: Options) -> None:
    """Tolerances are not negative."""
    readings.validate(options)
    for name in ("rel_tol", "abs_tol"):
        if not 0 <= options[name] < math.inf:
            raise ValueError(f"{name}: expected a number from 0, found {options[name]!r}")


def _comparisons(expected: Quantity, found: Quantity) -> list[tuple[float, float]]:
    """The pairs of values of which one must agree."""
    if expected.scale == found.scale:
        return [(expected.value, found.value)]
    scaled = expected.value * expected.scale, found.value * found.scale
    return [scaled, (expected.value, found.value)] if 1.0 in (expected.scale, found.scale) else [scaled]


def _are_other_integers(expected: Quantity, found: Quantity, options: Options) -> bool:
    """Whether two integers that floats do not tell apart differ, by more than a tolerance that was asked for."""
    if expected.scale != found.scale or expected.whole is None or found.whole is None or options["rel_tol"] > _REL_TOL:
        return False
    return bool(abs(expected.whole - found.whole) > options["abs_tol"])


def _is_close(one: float, other: float, rel_tol: float, abs_tol: float) -> bool:
    if rel_tol <= _REL_TOL and one.is_integer() and other.is_integer():
        rel_tol = 0.0
    return math.isclose(one, other, rel_tol=rel_tol, abs_tol=abs_tol)


VERIFIER = Verifier(name="number", read=read, check=check, validate=validate,
                    options={"rel_tol": _REL_TOL, "abs_tol": 0.0, "reading": readings.READING})
