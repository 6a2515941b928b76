r"""Equality of mathematical expressions: math-verify's rules, with less work where the verdict is certain.

Imported by workers only: sympy takes half a second. The texts are rewritten and parsed, golds once; equal trees and
equal values (`values`) need no more, and neither do collections of such. What is left goes to math-verify.
"""

import functools
import re
from collections.abc import Iterable

import sympy
from math_verify import verify as mv_verify
from sympy.core.function import AppliedUndef
from sympy.core.relational import Relational

from sparkcli.verifiers.base import Finding
from sparkcli.verifiers.mathematics.arithmetic import by_value, cut
from sparkcli.verifiers.mathematics.letters import has_unit_vectors
from sparkcli.verifiers.mathematics.limits import too_large
from sparkcli.verifiers.mathematics.parsing import Parsed, normalized, parsed
from sparkcli.verifiers.mathematics.rewriting import rewritten, unit, without_percent
from sparkcli.verifiers.mathematics.values import same_roots, same_value

_IS_COMPLEX = re.compile(r"(?<![a-zA-Z])I(?![a-zA-Z])|\\(?:Re|Im|arg|det)\b|\\operatorname\{(?:Re|Im|tr|rank)\}|\bz\b")
_COMMAND = re.compile(r"\\(?:text|mathrm|mbox|operatorname)\s*\{[^{}]*\}|\\[a-zA-Z]+")
_INEQUALITY = re.compile(r"[<>]|\\(?:[lg]eq?|[lg]eqslant|[lg]t)(?![a-z])")
_GREEK = frozenset(
    ("gamma", "delta", "theta", "lambda", "xi", "pi", "sigma", "upsilon", "phi", "psi", "omega"))
_CAPITAL = re.compile(r"\\(?:Gamma|Delta|Theta|Lambda|Xi|Pi|Sigma|Upsilon|Phi|Psi|Omega)(?![a-zA-Z])")
_remembered = functools.lru_cache(maxsize=256)
"""For golds: the samples of a group share theirs."""


def compare(gold: str, answer: str) -> Finding:
    """The verdict. Can take for ever; raises whatever sympy raises."""
    expected, is_expected_percent = without_percent(_rewritten_gold(gold))
    found, is_found_percent = without_percent(rewritten(answer))
    if has_unit_vectors(expected) != has_unit_vectors(found):
        expected, found = rewritten(gold, has_vectors=True), rewritten(answer, has_vectors=True)
    left_unit, right_unit = unit(gold), unit(answer)
    if left_unit and right_unit and left_unit != right_unit:
        return Finding("wrong", f"different units: {left_unit} and {right_unit}")
    if {"and", "or"} == {_joined_by(gold), _joined_by(answer)}:
        return Finding("wrong", "inequalities that all hold, where one of them does, or the other way round")
    if is_expected_percent == is_found_percent:
        return _compared(expected, found)
    finding = _compared(expected, found)
    if finding.status != "wrong":
        return finding
    share = r"\frac{{{}}}{{100}}".format
    return _compared(share(expected), found) if is_expected_percent else _compared(expected, share(found))


def _joined_by(text: str) -> str | None:
    """The word between inequalities, if it is only one."""
    words = {word.lower() for word in re.findall(r"(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])", text)}
    return words.pop() if len(words) == 1 and _INEQUALITY.search(text) else None


def reading_of(text: str) -> tuple[str, str]:
    """A text as it is rewritten, and what that is read as. Can take for ever; raises whatever sympy raises."""
    bare, is_percent = without_percent(rewritten(text))
    expression = parsed(bare, None if _IS_COMPLEX.search(bare) else True, not _mixes_cases(bare))
    shown = "nothing: it cannot be read as mathematics" if expression is None else _shown(expression, bare)
    return bare, shown + (" percent" if is_percent else "")


def _compared(gold: str, answer: str) -> Finding:
    """The verdict on rewritten texts."""
    return by_value(gold, answer) or by_algebra(gold, answer)


def by_algebra(gold: str, answer: str) -> Finding:
    """The verdict by math-verify's grammar and sympy."""
    is_real = None if _IS_COMPLEX.search(gold) or _IS_COMPLEX.search(answer) else True
    lowercase = not (_mixes_cases(gold) or _mixes_cases(answer) or _CAPITAL.search(gold) or _CAPITAL.search(answer))
    expected = _parsed_gold(gold, is_real, lowercase)
    if normalized(gold) == normalized(answer):
        return Finding("correct", "equal text as math-verify reads it")
    if expected is None or expected.has(sympy.nan, sympy.zoo):
        return Finding("gold_unparseable", f"the gold answer {gold[:80]!r} cannot be read as mathematics")
    found = parsed(answer, is_real, lowercase)
    if found is None:
        return Finding("wrong", "the answer cannot be read as mathematics", is_unreadable=True)
    for side, expression in (("the gold answer", expected), ("the answer", found)):
        if expected != found and (reason := too_large(expression)):
            return Finding("error", f"{side} is too large to evaluate: {reason}")
    verdict, judge = _verdict(expected, found, gold)
    shown = f"{_shown(expected, gold)} {'=' if verdict else '≠'} {_shown(found, answer)}"
    return Finding("correct" if verdict else "wrong", f"{'equal' if verdict else 'not equal'}, {judge}: {shown}")


_rewritten_gold = _remembered(rewritten)
_parsed_gold = _remembered(parsed)


def _mixes_cases(text: str) -> bool:
    """Whether some letter occurs in both cases, as variables of their own: math-verify reads `M/m` as 1."""
    letters = set(filter(str.isalpha, _COMMAND.sub(" ", text))) - {"I"}
    return any(letter.swapcase() in letters for letter in letters)


def _verdict(gold: Parsed, answer: Parsed, text: str) -> tuple[bool, str]:
    """Whether they are equal, and who says so."""
    if gold == answer:
        return True, "the same expression"
    known = _same(gold, answer)
    if known is not None:
        return known, "by value"
    if mv_verify(gold, answer, timeout_seconds=None, raise_on_error=True):
        return True, "says math-verify"
    if _as_same_set(gold, answer, text):
        return True, "as sets of numbers"
    return False, "says math-verify"


def _same(gold: Parsed, answer: Parsed) -> bool | None:
    """Equality of scalars by their values and of collections by their elements; None where math-verify has to tell."""
    if isinstance(gold, sympy.MatrixBase) and isinstance(answer, sympy.MatrixBase):
        return gold.shape == answer.shape and _all(map(_same, gold.flat(), answer.flat()))
    if isinstance(gold, sympy.Symbol) and isinstance(answer, sympy.Symbol) and answer.name.lower() in _GREEK:
        return bool(gold.name == answer.name)
    if isinstance(gold, sympy.Tuple) and isinstance(answer, sympy.Tuple):
        return len(gold) == len(answer) and _all(map(_same, gold, answer))
    if isinstance(gold, sympy.FiniteSet) and isinstance(answer, sympy.FiniteSet):
        return _same_elements(list(gold), list(answer))
    if isinstance(gold, sympy.Interval) and isinstance(answer, sympy.Interval):
        is_alike = (gold.left_open, gold.right_open) == (answer.left_open, answer.right_open)
        return is_alike and _all((_same(gold.start, answer.start), _same(gold.end, answer.end)))
    if isinstance(gold, sympy.Eq) or isinstance(answer, sympy.Eq):
        return _same_sides(gold, answer)
    return same_value(gold, answer)


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    """Whether all are true; None if that depends on an unknown one."""
    known = list(verdicts)
    return False if False in known else None if None in known else True


def _same_elements(gold: list[Parsed], answer: list[Parsed]) -> bool | None:
    """Whether each element has its equal on the other side, in whatever order."""
    if len(gold) != len(answer):
        return None
    for element in gold:
        verdicts = [_same(element, other) for other in answer]
        if True not in verdicts:
            return None if None in verdicts else False
        answer = [other for index, other in enumerate(answer) if index != verdicts.index(True)]
    return True


def _same_sides(gold: Parsed, answer: Parsed) -> bool | None:
    """Equality of `x = 1` or `f(x) = x` with another such, or with the bare right side; of other equations by roots."""
    sides = [(side.lhs, side.rhs) if isinstance(side, sympy.Eq) else (None, side) for side in (gold, answer)]
    if not all(isinstance(part, sympy.Expr) for side in sides for part in side if part is not None):
        return None
    (left, expected), (right, found) = sides
    if any(isinstance(name, sympy.Number) and not value.free_symbols and same_value(name, value) is False
           for name, value in sides):
        return False  # `8=7`; a wrong computation is still an answer by its result
    are_definitions = all(name is None or (_is_name(name) and not value.has(name)) or _is_sum(name, value)
                          for name, value in sides)
    if are_definitions and (left == right or left is None or right is None):
        return same_value(expected, found)
    return same_roots(left - expected, right - found) if left is not None and right is not None else None


def _is_sum(left: sympy.Expr, right: sympy.Expr) -> bool:
    """Whether it is a computation with its result: `2+3=5`."""
    return not (left.free_symbols or right.free_symbols) and same_value(left, right) is True


def _is_name(expression: sympy.Expr) -> bool:
    return bool(expression.is_Symbol) or isinstance(expression, AppliedUndef)


def _as_same_set(gold: Parsed, answer: Parsed, text: str) -> bool:
    r"""Whether inequalities, or an interval and inequalities, have the same solutions.

    A gold `(1,2)` may be a point, so it is no set here; `[1,2]`, `(1,\infty)` and unions are.
    """
    if not (_has_relations(gold) or _has_relations(answer)):
        return False
    is_point = isinstance(gold, sympy.Interval) and not re.search(r"[\[\]]|\\(?:infty|in|[lr]group)\b", text)
    if is_point or len(gold.free_symbols | answer.free_symbols) != 1:
        return False
    expected, found = _as_set(gold), _as_set(answer)
    return expected is not None and found is not None and bool(expected == found)


def _has_relations(expression: Parsed) -> bool:
    return any(isinstance(part, Relational) and not isinstance(part, sympy.Eq)
               for part in sympy.preorder_traversal(expression))


def _as_set(expression: Parsed) -> sympy.Set | None:
    r"""The real solutions of an inequality, of several (any of them will do), of `x \in S`; a set itself."""
    if isinstance(expression, sympy.Eq) and isinstance(expression.rhs, sympy.Set):
        expression = expression.rhs
    try:
        if isinstance(expression, sympy.FiniteSet) and _has_relations(expression):
            expression = sympy.Or(*expression)
        if isinstance(expression, sympy.Set):
            return expression.doit() if not isinstance(expression, sympy.FiniteSet) else None
        return expression.as_set()
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        return None


def _shown(expression: Parsed, text: str) -> str:
    """An expression for people, cut; the text that it was read from where printing would be slow."""
    try:
        shown = str(expression) if _is_small(expression, 8) else text
    except ValueError:  # an integer with more digits than Python will print
        shown = text
    return cut(shown)


def _is_small(expression: Parsed, depth: int) -> bool:
    """Whether an expression is no deeper than that, and has no more than twelve parts at each place."""
    parts = expression.flat() if isinstance(expression, sympy.MatrixBase) else expression.args
    return len(parts) <= 12 and (not parts or (depth > 0 and all(_is_small(part, depth - 1) for part in parts)))
