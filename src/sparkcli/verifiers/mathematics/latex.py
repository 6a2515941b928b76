r"""Common LaTeX by recursive descent: text in, tree out.

Numbers, single letters, `\pi`, `\infty` as an end, roots, fractions, mixed numbers, sums, products written or implied,
quotients, powers; equations of such; tuples, intervals and their unions, lists, sets and matrices, nested too.
"""

import re
from decimal import Decimal

from sparkcli.verifiers.mathematics.trees import INFINITY, INTERVALS, PI, Collection, Equation, Operation, Scalar, Tree


class OpenError(Exception):
    """The text can mean something else, or takes more than this."""


_TOKEN = re.compile(r"\\(?:[a-zA-Z]+|.)|\d+(?:\.\d+)?|\.\d+|[a-zA-Z]+|\*\*|\S")
_NUMBER = re.compile(r"(?:0|[1-9]\d{0,39})(?:\.\d{1,15})?|\.\d{1,15}")
_LETTERS = frozenset("abcjknpqrtuvwxyz")
"""Variables: no units, functions and constants."""
_LETTERS_IN_WORDS = frozenset("abcxyz")
_LONGEST_WORD = 3
_IGNORED = frozenset((r"\left", r"\right", r"\,", r"\;", r"\:", r"\ ", r"\displaystyle"))
_SAME = {r"\dfrac": r"\frac", r"\tfrac": r"\frac", r"\cfrac": r"\frac", r"\times": r"\cdot", "*": r"\cdot",
         "**": "^", "pi": PI, r"\lbrace": r"\{", r"\rbrace": r"\}", r"\langle": "(", r"\rangle": ")"}
_ROOT = "sqrt"
"""Of Python; behind it stands a parenthesis."""
_MATRICES = frozenset(("pmatrix", "bmatrix", "matrix", "array"))
_ENDS = frozenset(("", "+", "-", ")", "]", "}", r"\}", ",", "=", "&", r"\cup", "U", r"\\", r"\end", r"\begin"))
"""What follows a product."""
_LARGEST_DEGREE = 20


class Reader:
    """Recursive descent. Each method reads what it is called after, and stands behind it then."""

    def __init__(self, text: str) -> None:
        self._tokens = [token for token in map(_known, _TOKEN.findall(text)) if token not in _IGNORED]
        if any(len(token) > 1 and token.isalpha() for token in self._tokens):
            self._tokens = [letter for token in self._tokens for letter in _letters(token)]
        self._tokens += ["", ""]
        self._place = 0
        self.names: set[str] = set()

    def whole(self) -> Tree:
        """An item, or several between commas, and nothing behind."""
        items = self._items()
        self._take("")
        return items[0] if len(items) == 1 else Collection("{}", items)

    def whole_scalar(self) -> Scalar:
        """A sum, and nothing behind."""
        value = self._scalar()
        self._take("")
        return value

    def _take(self, expected: str) -> None:
        if self._tokens[self._place] != expected:
            raise OpenError
        self._place += 1

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
        if self._tokens[self._place] == r"\begin":
            return self._multiple(left)
        if self._tokens[self._place] != "=":
            return left
        self._place += 1
        return Equation(left, self._scalar())

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
        raise OpenError

    def _matrix(self) -> Collection:
        """Rows between `\\begin{pmatrix}` and its end, perhaps within brackets."""
        closing = {"(": ")", "[": "]"}.get(self._tokens[self._place])
        self._place += closing is not None
        environment = self._environment(r"\begin")
        if environment == "array":
            self._take("{")
            self._place += self._tokens[self._place].isalpha()
            self._take("}")
        rows = [self._row()]
        while self._tokens[self._place] == r"\\":
            self._place += 1
            if self._tokens[self._place] != r"\end":
                rows.append(self._row())
        if self._environment(r"\end") != environment or len({len(row) for row in rows}) != 1:
            raise OpenError
        if closing:
            self._take(closing)
        return Collection(f"matrix {len(rows[0])}", tuple(item for row in rows for item in row))

    def _multiple(self, factor: Scalar) -> Collection:
        """A matrix behind a factor."""
        if isinstance(factor, Operation) and factor.sign == "+":
            raise OpenError
        matrix = self._matrix()
        items = (item for item in matrix.items if not isinstance(item, Equation | Collection))
        return Collection(matrix.brackets, tuple(Operation("*", (factor, item)) for item in items))

    def _environment(self, command: str) -> str:
        self._take(command)
        self._take("{")
        name = self._tokens[self._place]
        self._place += 1
        self._take("}")
        if name not in _MATRICES:
            raise OpenError
        return name

    def _row(self) -> list[Tree]:
        row: list[Tree] = [self._scalar()]
        while self._tokens[self._place] == "&":
            self._place += 1
            row.append(self._scalar())
        return row

    def _end(self) -> Scalar:
        """A scalar, or an infinity."""
        signs = 1 if self._tokens[self._place] in ("+", "-") else 0
        if self._tokens[self._place + signs] != r"\infty":
            return self._scalar()
        value = -INFINITY if self._tokens[self._place] == "-" else INFINITY
        self._place += signs + 1
        return value

    def _scalar(self) -> Scalar:
        """A sum."""
        first = self._tokens[self._place]
        self._place += first in ("+", "-")
        terms = [_negative(self._product()) if first == "-" else self._product()]
        while (sign := self._tokens[self._place]) in ("+", "-"):
            self._place += 1
            terms.append(_negative(self._product()) if sign == "-" else self._product())
        if sign not in _ENDS:
            raise OpenError
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
                    raise OpenError
            elif token == r"\frac" and (before := self._tokens[self._place - 1])[-1].isdigit():
                is_alone = len(factors) == 1 and before is start
                factors[-1] = self._mixed_or_product(factors[-1], is_alone=is_alone)
            elif token[0].isdigit() or token[0] == "." or (token == "{" and self._tokens[self._place - 1] == "}"):
                raise OpenError  # `x2`, `2 3`, `\frac{1}{2}{3}`
            else:
                factors.append(self._power())
        return _product(factors)

    def _mixed_or_product(self, whole: Scalar, *, is_alone: bool) -> Scalar:
        r"""`3\frac{1}{2}` is a mixed number, `3\frac{\pi}{2}` a product; with more factors it may be either."""
        self._take(r"\frac")
        fraction = self._fraction()
        is_alone = is_alone and self._tokens[self._place] in _ENDS
        if is_alone and all(isinstance(part, Decimal) and part > 0 == part % 1 for part in fraction.operands):
            return Operation("+", (whole, fraction))
        if not _is_irrational(fraction) or self._tokens[self._place] == "^":
            raise OpenError
        return Operation("*", (whole, fraction))

    def _power(self) -> Scalar:
        base = self._atom()
        if self._tokens[self._place] != "^":
            return base
        self._place += 1
        token = self._tokens[self._place]
        exponent = self._group("{", "}") if token == "{" else self._single()
        if self._tokens[self._place] == "^":
            raise OpenError
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
        if token == _ROOT:
            self._place += 1
            return Operation("root", (self._group("(", ")"), Decimal(2)))
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
        raise OpenError

    def _single(self) -> Scalar:
        """What TeX takes for a group without braces: a digit, a letter, π."""
        token = self._tokens[self._place]
        if len(token) > 1 and token != PI:
            raise OpenError
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
                raise OpenError
            degree = Decimal(number)
            self._place += 2
            self._take("]")
        radicand = self._group("{", "}") if self._tokens[self._place] == "{" else self._single()
        return Operation("root", (radicand, degree))

    def _group(self, opening: str, closing: str) -> Scalar:
        self._take(opening)
        value = self._scalar()
        self._take(closing)
        return value


def _known(token: str) -> str:
    return _SAME.get(token, token)


def _letters(token: str) -> tuple[str, ...]:
    """The letters of a word that is surely a product; other tokens as they are."""
    is_command = token in _MATRICES or token in (_ROOT, "c" * len(token), "r" * len(token))
    if len(token) == 1 or not token.isalpha() or is_command:
        return (token,)
    if len(token) > _LONGEST_WORD or not _LETTERS_IN_WORDS.issuperset(token):
        raise OpenError
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
