r"""Common LaTeX as trees, without a grammar: a small part of the time.

What is read: numbers, single letters, `\pi`, `\infty` as an end, roots, fractions, mixed numbers, sums, products
written or implied, quotients, powers; one such with a unit in `\text`; equations; tuples, intervals and their unions,
lists, sets and matrices, nested too. Whatever can be read in two ways is left open: `1/2x`, `f(2)`, `e`, `i`, letters
of units, words, `0,125`, dates, `x^2^3`; the rest is for math-verify's grammar.
"""

import re
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from sparkcli.verifiers.mathematics.plain import number
from sparkcli.verifiers.mathematics.rewriting import unit

LONGEST = 200
"""Characters of what is read."""
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


class Formula(NamedTuple):
    """A text as it was read.

    `names`: its variables. `has_decimals`: whether some number has a decimal point. `unit`: what stands behind it.
    `also`: what it may be beside a list, as `1,000` may be two numbers.
    """

    tree: Tree
    names: frozenset[str]
    has_decimals: bool
    unit: str | None = None
    also: Tree | None = None


class _OpenError(Exception):
    """The text can mean something else, or takes more than this."""


_TOKEN = re.compile(r"\\(?:[a-zA-Z]+|.)|\d+(?:\.\d+)?|\.\d+|[a-zA-Z]+|\S")
_AMBIGUOUS = re.compile(r"\d,\d{3}(?!\d)|^\s*(?!\\left|\\\{|[(\[]).*\d,\d|\b\d{4}-\d\d?-\d"
                        r"|(?<![a-zA-Z\\])[a-z]\([a-z]\)")
"""Digits that a comma may group or make a decimal, dates, functions of a letter."""
_UNIT = re.compile(r"\s*(?:\\(?:text|mathrm|mbox)\s*\{[^{}\\]*\}|(\^\s*(?:\{\s*\\circ\s*\}|\\circ)))\s*\Z")
_GROUPED = re.compile(r"\s*[-+]?[1-9]\d{0,2}(?:,\d{3})+\s*")
_FUNCTION = re.compile(r"\s*([a-zA-Z]\([a-z]\))\s*=")
_NUMBER = re.compile(r"(?:0|[1-9]\d{0,39})(?:\.\d{1,15})?|\.\d{1,15}")
_LETTERS = frozenset("abcjknpqrtuvwxyz")
"""Variables: no units, functions and constants."""
_LETTERS_IN_WORDS = frozenset("abcxyz")
_LONGEST_WORD = 3
_IGNORED = frozenset((r"\left", r"\right", r"\,", r"\;", r"\:", r"\ ", r"\displaystyle"))
_SAME = {r"\dfrac": r"\frac", r"\tfrac": r"\frac", r"\cfrac": r"\frac", r"\times": r"\cdot", "*": r"\cdot",
         r"\lbrace": r"\{", r"\rbrace": r"\}"}
_MATRICES = frozenset(("pmatrix", "bmatrix", "matrix", "array"))
_ENDS = frozenset(("", "+", "-", ")", "]", "}", r"\}", ",", "=", "&", r"\cup", "U", r"\\", r"\end"))
"""What follows a product."""
_LARGEST_DEGREE = 20


@lru_cache(maxsize=8192)
def read(text: str) -> Formula | None:
    r"""What a text says; None where that takes a grammar.

    >>> read("2x").tree, read("[1,x)").tree.brackets, read(r"\{1\}").tree.items
    (Operation(sign='*', operands=(Decimal('2'), 'x')), '[)', (Decimal('1'),))
    >>> read("1/2x"), read("0,125"), read("3 + i")
    (None, None, None)
    """
    if len(text) > LONGEST:
        return None
    measured = _UNIT.search(text)
    name = ("degree" if measured[1] else unit(text)) if measured else None
    function = _FUNCTION.match(text)
    rest = text[function.end() if function else 0:measured.start() if measured else len(text)]
    if measured and not name:
        return None
    if _AMBIGUOUS.search(rest):
        return None if function else _grouped(rest, name)
    try:
        reader = _Reader(rest)
        tree = Equation(function[1], reader.scalar()) if function else reader.list_or_item()
        reader.take("")
    except (_OpenError, RecursionError):
        return None
    if name and isinstance(tree, Collection):
        return None
    names = reader.names | {function[1]} if function else reader.names
    return Formula(tree, frozenset(names), "." in rest, name)


def _grouped(text: str, name: str | None) -> Formula | None:
    """`12,000` as `plain` reads it."""
    found = number(text.strip()) if _GROUPED.fullmatch(text) else None
    if found is None:
        return None
    groups = Collection("{}", tuple(map(Decimal, text.split(","))))
    return Formula(Decimal(found.value.numerator), frozenset(), has_decimals=False, unit=name, also=groups)


class _Reader:
    """Recursive descent. Each method reads what it is called after, and stands behind it then."""

    def __init__(self, text: str) -> None:
        self._tokens = [token for token in map(_known, _TOKEN.findall(text)) if token not in _IGNORED]
        if any(len(token) > 1 and token.isalpha() for token in self._tokens):
            self._tokens = [letter for token in self._tokens for letter in _letters(token)]
        self._tokens += ["", ""]
        self._place = 0
        self.names: set[str] = set()

    def take(self, expected: str) -> None:
        if self._tokens[self._place] != expected:
            raise _OpenError
        self._place += 1

    def list_or_item(self) -> Tree:
        """An item, or several between commas."""
        items = self._items()
        return items[0] if len(items) == 1 else Collection("{}", items)

    def _items(self) -> tuple[Tree, ...]:
        items = [self._item()]
        while self._tokens[self._place] == ",":
            self._place += 1
            items.append(self._item())
        return tuple(items)

    def _item(self) -> Tree:
        token = self._tokens[self._place]
        if token == r"\begin" or (token in ("(", "[") and self._tokens[self._place + 1] == r"\begin"):
            return self._matrix()
        if token in ("[", r"\{") or (token == "(" and self._holds_comma()):
            return self._union(token)
        left = self._end()
        if self._tokens[self._place] != "=":
            return left
        self._place += 1
        return Equation(left, self.scalar())

    def _holds_comma(self) -> bool:
        """Whether there is a comma within the parenthesis here, and not deeper."""
        depth = 0
        for token in self._tokens[self._place:]:
            if token in ("(", "[", "{", r"\{"):
                depth += 1
            elif token in (")", "]", "}", r"\}"):
                depth -= 1
                if depth == 0:
                    return False
            elif token == "," and depth == 1:
                return True
        return False

    def _union(self, opening: str) -> Collection:
        """A collection, or the union of several."""
        parts = [self._collection(opening)]
        while self._tokens[self._place] in (r"\cup", "U"):
            self._place += 1
            parts.append(self._collection(self._tokens[self._place]))
        return parts[0] if len(parts) == 1 else Collection("cup", tuple(parts))

    def _collection(self, opening: str) -> Collection:
        self._place += 1
        items = self._items()
        closing = self._tokens[self._place]
        self._place += 1
        if opening == r"\{" and closing == r"\}":
            return Collection("{}", items)
        brackets = opening + closing
        if (len(items) == 2 and brackets in INTERVALS) or (len(items) > 2 and brackets in ("()", "[]")):
            return Collection(brackets, items)
        raise _OpenError

    def _matrix(self) -> Collection:
        """Rows between `\\begin{pmatrix}` and its end, perhaps within brackets."""
        closing = {"(": ")", "[": "]"}.get(self._tokens[self._place])
        self._place += closing is not None
        environment = self._environment(r"\begin")
        if environment == "array":
            self.take("{")
            self._place += self._tokens[self._place].isalpha()
            self.take("}")
        rows = [self._row()]
        while self._tokens[self._place] == r"\\":
            self._place += 1
            if self._tokens[self._place] != r"\end":
                rows.append(self._row())
        if self._environment(r"\end") != environment or len({len(row) for row in rows}) != 1:
            raise _OpenError
        if closing:
            self.take(closing)
        return Collection(f"matrix {len(rows[0])}", tuple(item for row in rows for item in row))

    def _environment(self, command: str) -> str:
        self.take(command)
        self.take("{")
        name = self._tokens[self._place]
        self._place += 1
        self.take("}")
        if name not in _MATRICES:
            raise _OpenError
        return name

    def _row(self) -> list[Tree]:
        row: list[Tree] = [self.scalar()]
        while self._tokens[self._place] == "&":
            self._place += 1
            row.append(self.scalar())
        return row

    def _end(self) -> Scalar:
        """A scalar, or an infinity."""
        signs = 1 if self._tokens[self._place] in ("+", "-") else 0
        if self._tokens[self._place + signs] != r"\infty":
            return self.scalar()
        value = -INFINITY if self._tokens[self._place] == "-" else INFINITY
        self._place += signs + 1
        return value

    def scalar(self) -> Scalar:
        """A sum."""
        first = self._tokens[self._place]
        self._place += first in ("+", "-")
        terms = [_negative(self._product()) if first == "-" else self._product()]
        while (sign := self._tokens[self._place]) in ("+", "-"):
            self._place += 1
            terms.append(_negative(self._product()) if sign == "-" else self._product())
        if sign not in _ENDS:
            raise _OpenError
        return terms[0] if len(terms) == 1 else Operation("+", tuple(terms))

    def _product(self) -> Scalar:
        """Factors, with signs of multiplication or none, and at most one divisor behind them."""
        start = self._tokens[self._place]
        factors = [self._power()]
        while (token := self._tokens[self._place]) not in _ENDS:
            if token == r"\cdot":
                self._place += 1
                factors.append(self._power())
            elif token == "/":
                self._place += 1
                factors = [Operation("/", (_product(factors), self._power()))]
                if self._tokens[self._place] not in _ENDS:
                    raise _OpenError
            elif token == r"\frac" and (before := self._tokens[self._place - 1])[-1].isdigit():
                is_alone = len(factors) == 1 and before is start
                factors[-1] = self._mixed_or_product(factors[-1], is_alone=is_alone)
            elif token[0].isdigit() or token[0] == "." or (token == "{" and self._tokens[self._place - 1] == "}"):
                raise _OpenError  # `x2`, `2 3`, `\frac{1}{2}{3}`
            else:
                factors.append(self._power())
        return _product(factors)

    def _mixed_or_product(self, whole: Scalar, *, is_alone: bool) -> Scalar:
        r"""`3\frac{1}{2}` is a mixed number, `3\frac{\pi}{2}` a product; with more factors it may be either."""
        self.take(r"\frac")
        fraction = self._fraction()
        is_alone = is_alone and self._tokens[self._place] in _ENDS
        if is_alone and all(isinstance(part, Decimal) and part > 0 == part % 1 for part in fraction.operands):
            return Operation("+", (whole, fraction))
        if not _is_irrational(fraction) or self._tokens[self._place] == "^":
            raise _OpenError
        return Operation("*", (whole, fraction))

    def _power(self) -> Scalar:
        base = self._atom()
        if self._tokens[self._place] != "^":
            return base
        self._place += 1
        token = self._tokens[self._place]
        exponent = self._group("{", "}") if token == "{" else self._single()
        if self._tokens[self._place] == "^":
            raise _OpenError
        return Operation("^", (base, exponent))

    def _atom(self) -> Scalar:
        token = self._tokens[self._place]
        if token == "(":
            return self._group("(", ")")
        if token == "{":
            return self._group("{", "}")
        if token == r"\frac":
            self._place += 1
            return self._fraction()
        if token == r"\sqrt":
            self._place += 1
            return self._root()
        return self._leaf(token)

    def _leaf(self, token: str) -> Scalar:
        self._place += 1
        if token in _LETTERS:
            self.names.add(token)
            return token
        if token == PI:
            return token
        if _NUMBER.fullmatch(token):
            return Decimal(token)
        raise _OpenError

    def _single(self) -> Scalar:
        """What TeX takes for a group without braces: a digit, a letter, π."""
        token = self._tokens[self._place]
        if len(token) > 1 and token != PI:
            raise _OpenError
        return self._leaf(token)

    def _fraction(self) -> Operation:
        token = self._tokens[self._place]
        if len(token) == 2 and token.isdigit():  # `\frac12`
            self._place += 1
            return Operation("/", (Decimal(token[0]), Decimal(token[1])))
        over = self._group("{", "}") if token == "{" else self._single()
        under = self._group("{", "}") if self._tokens[self._place] == "{" else self._single()
        return Operation("/", (over, under))

    def _root(self) -> Scalar:
        degree = Decimal(2)
        if self._tokens[self._place] == "[":
            number = self._tokens[self._place + 1]
            if not number.isdigit() or not 2 <= int(number) <= _LARGEST_DEGREE:
                raise _OpenError
            degree = Decimal(number)
            self._place += 2
            self.take("]")
        radicand = self._group("{", "}") if self._tokens[self._place] == "{" else self._single()
        return Operation("root", (radicand, degree))

    def _group(self, opening: str, closing: str) -> Scalar:
        self.take(opening)
        value = self.scalar()
        self.take(closing)
        return value


def _known(token: str) -> str:
    return _SAME.get(token, token)


def _letters(token: str) -> tuple[str, ...]:
    """The letters of a word that is surely a product; other tokens as they are."""
    if len(token) == 1 or not token.isalpha() or token in _MATRICES or token in ("c" * len(token), "r" * len(token)):
        return (token,)
    if len(token) > _LONGEST_WORD or not _LETTERS_IN_WORDS.issuperset(token):
        raise _OpenError
    return tuple(token)


def _is_irrational(scalar: Scalar) -> bool:
    """Whether it holds a name or a root, and so is no part of a mixed number."""
    if isinstance(scalar, Operation):
        return scalar.sign == "root" or any(map(_is_irrational, scalar.operands))
    return isinstance(scalar, str)


def _negative(scalar: Scalar) -> Scalar:
    return scalar.copy_negate() if isinstance(scalar, Decimal) else Operation("-", (scalar,))


def _product(factors: list[Scalar]) -> Scalar:
    return factors[0] if len(factors) == 1 else Operation("*", tuple(factors))
