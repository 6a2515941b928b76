r"""Equality of what `formulas` reads, by values at a few points: a small part of the time that algebra takes.

Numbers and expressions are equal if their values are; sets, if each element has its equal on the other side; tuples,
intervals and matrices, item by item; `x = 5` and `x = 3 + 2`, if the right sides are; other equations, if one is a
multiple of the other. Things of two kinds are never equal unless they hold the same values; then math-verify tells
whether `(1,2)` is `\{1,2\}`. Decimals that are almost equal, and tiny and large numbers that had to be rounded, are
left open.
"""

import decimal
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import TypeVar

from sparkcli.verifiers.base import Finding
from sparkcli.verifiers.mathematics.evaluation import PI_DIGITS, Point, precise, value
from sparkcli.verifiers.mathematics.formulas import Formula, read
from sparkcli.verifiers.mathematics.plain import are_words
from sparkcli.verifiers.mathematics.trees import INFINITY, INTERVALS, PI, Collection, Equation, Operation, Scalar, Tree

_POINTS = tuple(map(Decimal, ("0.7391", "1.3247", "-2.2361", "0.5671", "3.3028", "-1.9022")))
"""Values of variables; unlike enough that unlike expressions have unlike values."""
_TRIES = 4
_SMALL, _LARGE = Decimal("1e-9"), Decimal("1e15")
"""Between these, a rounded value has digits enough."""
_EQUAL, _DIFFERENT, _DIFFERENT_DECIMALS = Decimal("1e-30"), Decimal("1e-15"), Decimal("1e-11")
"""Relative distances of rounded values: up to the first they are equal, from the others different."""
_PLACES = Decimal("1.001e-6")
"""Up to this distance a decimal may be equal to a number by its six places."""
_SMALLEST_DECIMAL, _LARGEST_DECIMAL = Decimal("1e-2"), Decimal("1e8")
"""Between these, the places of a decimal count, and not its significant digits."""
_MIDDLE = Decimal("0.01")
_SHOWN = 80
_GAP = Decimal("1e-6")
"""By which the ends of intervals must differ at least to be told apart here."""
_STEPS = 12
_ROOT, _NO_ROOT = Decimal("1e-20"), Decimal("1e-3")


def by_value(gold: str, answer: str) -> Finding | None:
    """The verdict on two texts, with them in the reason; None where that takes a grammar, or algebra."""
    verdict = same_arithmetic(gold, answer)
    if verdict is None:
        return by_kind(gold, answer)
    if verdict:
        return Finding("correct", f"equal, by value: {cut(gold)} = {cut(answer)}")
    return Finding("wrong", f"not equal, by value: {cut(gold)} ≠ {cut(answer)}")


def by_kind(gold: str, answer: str) -> Finding | None:
    """The verdict where one side is words and the other a formula."""
    for one, other in ((gold, answer), (answer, gold)):
        if are_words(one) and read(other):
            return Finding("wrong", f"{cut(one)} is in words, {cut(other)} is not")
    return None


def cut(text: str) -> str:
    """A text as a reason shows it: in one line, of 80 characters at most."""
    shown = " ".join(text.split())
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN - 1] + "…"


def same_arithmetic(gold: str, answer: str) -> bool | None:
    r"""Whether two texts mean the same; None where that takes a grammar, or algebra.

    >>> same_arithmetic(r"2\sqrt{8}", r"\sqrt{32}"), same_arithmetic("(x+1)(x-1)", "x^2-1")
    (True, True)
    >>> same_arithmetic(r"\{1,\frac{1}{2}\}", r"\{0.5,1\}"), same_arithmetic("(1,2)", "(2,1)")
    (True, False)
    >>> same_arithmetic("y=2x+3", "2x-y+3=0"), same_arithmetic("(1,2)", "3"), same_arithmetic("(1,2)", r"\{1,2\}")
    (True, False, None)
    """
    expected = read(gold)
    found = read(answer) if expected else None
    if expected is None or found is None:
        return None
    if expected.unit and found.unit and expected.unit != found.unit:
        return None
    names = sorted(expected.names | found.names)
    if len(names) > len(_POINTS):
        return None
    try:
        with precise():
            comparison = _Comparison(names, has_decimals=expected.has_decimals or found.has_decimals)
            verdicts = {comparison.same(*trees) for trees in itertools.product(_readings(expected, found),
                                                                               _readings(found, expected))}
            return verdicts.pop() if len(verdicts) == 1 else None
    except (ArithmeticError, RecursionError):
        return None


_T = TypeVar("_T")


def _readings(text: Formula, other: Formula) -> tuple[Tree, ...]:
    """What the text may mean: `1,000` beside a list may be one as well."""
    return (text.tree, text.also) if text.also and isinstance(other.tree, Collection) else (text.tree,)


class _Comparison:
    """Of two trees. True and False are certain, None is not."""

    def __init__(self, names: Sequence[str], *, has_decimals: bool) -> None:
        self._names, self._has_decimals = names, has_decimals
        self._context = decimal.getcontext()
        self._points: list[Point] = [
            {PI: PI_DIGITS, **{name: _POINTS[(place + 2 * shift) % len(_POINTS)] for place, name in enumerate(names)}}
            for shift in range(_TRIES if names else 1)]

    def same(self, gold: Tree, answer: Tree) -> bool | None:
        """Whether they are equal."""
        if isinstance(gold, Equation) or isinstance(answer, Equation):
            return self._same_equations(gold, answer)
        if isinstance(gold, Collection) and isinstance(answer, Collection):
            return self._same_collection(gold, answer)
        if not isinstance(gold, Collection) and not isinstance(answer, Collection):
            return self._same_value(gold, answer)
        return self._hold_others(gold, answer)

    def _same_collection(self, gold: Collection, answer: Collection) -> bool | None:
        if gold.brackets == answer.brackets == "{}":
            return self._same_elements(gold.items, answer.items)
        if gold.brackets == answer.brackets != "cup" and len(gold.items) == len(answer.items):
            return _all(map(self._same_item, gold.items, answer.items))
        sides = _intervals(gold), _intervals(answer)
        if self._are_apart(sides[0]) and self._are_apart(sides[1]):
            return _match(*sides, self._same_interval)
        if "cup" in (gold.brackets, answer.brackets):
            return None
        return self._hold_others(gold, answer)

    def _hold_others(self, gold: Tree, answer: Tree) -> bool | None:
        """False where one holds a value that the other has not."""
        return False if self._same_elements(list(_leaves(gold)), list(_leaves(answer))) is False else None

    def _are_apart(self, intervals: Sequence[Collection]) -> bool:
        """Whether these are intervals, surely not empty, and no two can be joined to one."""
        if self._names or not intervals:
            return False
        ends: list[tuple[Decimal, Decimal, str]] = []
        for interval in intervals:
            low, high = (value(end, self._points[0]) for end in _ends(interval))
            ends.append((low, high, interval.brackets))
        are_proper = all(low + _GAP < high for low, high, _ in ends)
        return are_proper and all(high + _GAP < low or (high == low and (one + other)[1:3] == ")(")
                                  for (_, high, one), (low, _, other) in itertools.pairwise(sorted(ends)))

    def _same_interval(self, gold: Collection, answer: Collection) -> bool | None:
        """Equality of intervals that are not empty, where an infinite end is open however it is written."""
        verdict = _all(map(self._same_value, _ends(gold), _ends(answer)))
        brackets = [(one, other) for one, other, end in zip(gold.brackets, answer.brackets, _ends(gold), strict=True)
                    if end not in (INFINITY, -INFINITY)]
        return verdict if all(one == other for one, other in brackets) else False

    def _same_item(self, gold: Tree, answer: Tree) -> bool | None:
        """Equality within collections, where `x = 1` may be another thing than 1."""
        verdict = self.same(gold, answer)
        return None if verdict and isinstance(gold, Equation) != isinstance(answer, Equation) else verdict

    def _same_elements(self, gold: Sequence[Tree], answer: Sequence[Tree]) -> bool | None:
        """Whether each element has its equal on the other side."""
        return _match(gold, answer, self._same_item)

    def _same_value(self, gold: Scalar, answer: Scalar) -> bool | None:
        """Whether the values agree at every point."""
        is_decimal = not self._names and (_is_decimal(gold) or _is_decimal(answer))
        for point in self._points:
            self._context.clear_flags()
            verdict = self._are_close(value(gold, point), value(answer, point), is_decimal)
            if not verdict:
                return verdict
        return True

    def _are_close(self, expected: Decimal, found: Decimal, is_decimal: bool) -> bool | None:
        """Whether two values are equal; `is_decimal`: one of them as it is written, so that six places count."""
        if expected.is_infinite() or found.is_infinite():
            return expected == found
        is_exact = not self._context.flags[decimal.Inexact]
        if is_exact and expected == found:
            return True
        size, distance = max(abs(expected), abs(found)), abs(expected - found)
        if not is_exact:
            if not _SMALL < size < _LARGE:
                return None
            if distance <= size * _EQUAL:
                return True
        if is_decimal and distance <= _PLACES:
            return _agree_in_places(expected, found) if _SMALLEST_DECIMAL < size < _LARGEST_DECIMAL else None
        if self._has_decimals:
            return False if distance > _PLACES and distance > size * _DIFFERENT_DECIMALS else None
        return False if is_exact or distance > size * _DIFFERENT else None

    def _same_equations(self, gold: Tree, answer: Tree) -> bool | None:
        """Equality where one side at least is an equation; what it is equal to otherwise is its right side."""
        if isinstance(gold, Equation) and isinstance(answer, Equation):
            if gold.left == answer.left and _is_definition(gold) and _is_definition(answer):
                return self._same_value(gold.right, answer.right)
            return self._same_roots(_difference(gold), _difference(answer))
        equation, other = (gold, answer) if isinstance(gold, Equation) else (answer, gold)
        assert isinstance(equation, Equation)
        verdict = self.same(equation.right, other)
        if _is_definition(equation):
            return verdict if verdict or equation is gold or self.same(equation.left, other) is False else None
        is_curve = equation is answer or len(_names(equation)) > 1
        return False if is_curve and verdict is False and self.same(equation.left, other) is False else None

    def _same_roots(self, gold: Scalar, answer: Scalar) -> bool | None:
        """Whether two functions are multiples of one another; False where one has a root that the other has not."""
        ratios = [value(gold, point) / value(answer, point) for point in self._points]
        if not self._names or not all(ratios):
            return None
        if all(abs(ratio - ratios[0]) <= abs(ratio) * _EQUAL for ratio in ratios):
            return True
        return False if any(self._has_other_root(gold, answer, name) for name in self._names) else None

    def _has_other_root(self, gold: Scalar, answer: Scalar, name: str) -> bool:
        """Whether the secant method finds a root of the first along one variable that is surely none of the second."""
        before, place = Decimal("0.9"), Decimal("1.7")
        low = value(gold, {**self._points[0], name: before})
        for _ in range(_STEPS):
            high = value(gold, {**self._points[0], name: place})
            if abs(high) < _ROOT:
                return abs(value(answer, {**self._points[0], name: place})) > _NO_ROOT
            if low == high:
                return False
            before, low, place = place, high, place - high * (place - before) / (high - low)
        return False


def _is_decimal(scalar: Scalar) -> bool:
    return isinstance(scalar, Decimal) and "." in str(scalar)


def _agree_in_places(expected: Decimal, found: Decimal) -> bool | None:
    """Whether two numbers round to the same six places; None where one is too near to the middle to tell."""
    scaled = expected * 10**6, found * 10**6
    if any(abs(each % 1) - Decimal("0.5") < _MIDDLE and Decimal("0.5") - abs(each % 1) < _MIDDLE for each in scaled):
        return None
    return round(scaled[0]) == round(scaled[1])


def _any(verdicts: Iterable[bool | None]) -> bool | None:
    known = list(verdicts)
    return True if True in known else None if None in known else False


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    known = list(verdicts)
    return False if False in known else None if None in known else True


def _match(gold: Sequence[_T], answer: Sequence[_T], same: Callable[[_T, _T], bool | None]) -> bool | None:
    """Whether each has its equal on the other side."""
    table = [[same(element, other) for other in answer] for element in gold]
    return _all(_any(line) for line in (*table, *zip(*table, strict=True)))


def _intervals(collection: Collection) -> list[Collection]:
    """An interval, or those of a union; nothing where there is something else."""
    parts = collection.items if collection.brackets == "cup" else (collection,)
    intervals = [part for part in parts if isinstance(part, Collection) and part.brackets in INTERVALS
                 and len(_ends(part)) == 2]
    return intervals if len(intervals) == len(parts) else []


def _ends(interval: Collection) -> list[Scalar]:
    return [item for item in interval.items if not isinstance(item, Equation | Collection)]


def _leaves(tree: Tree) -> Iterator[Tree]:
    if isinstance(tree, Collection):
        for item in tree.items:
            yield from _leaves(item)
    else:
        yield tree


def _difference(equation: Equation) -> Scalar:
    return Operation("+", (equation.left, Operation("-", (equation.right,))))


def _is_definition(equation: Equation) -> bool:
    """Whether it is a name and its value."""
    return isinstance(equation.left, str) and equation.left != PI and equation.left not in _names(equation.right)


def _names(tree: Scalar | Equation) -> set[str]:
    """The variables of a scalar, or of both sides of an equation."""
    if isinstance(tree, Operation):
        return set().union(*map(_names, tree.operands))
    if isinstance(tree, Equation):
        return _names(tree.left) | _names(tree.right)
    return {tree} if isinstance(tree, str) and tree != PI else set()
