r"""What a text says, if it is common LaTeX: read without a grammar, in a small part of the time.

What can be read in two ways is left open: `1/2x`, `f(2)`, `e`, `i`, letters of units, words, `0,125`, dates, `x^2^3`;
the rest is for math-verify's grammar.
"""

import re
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from sparkcli.verifiers.mathematics.latex import OpenError, Reader
from sparkcli.verifiers.mathematics.rewriting import unit
from sparkcli.verifiers.mathematics.trees import Collection, Equation, Tree

_LONGEST = 200
"""Characters of what is read."""
_AMBIGUOUS = re.compile(r"\d,\d{3}(?!\d)|^\s*(?!\\left|\\langle|\\\{|[(\[]).*\d,\d|\b\d{4}-\d\d?-\d"
                        r"|(?<![a-zA-Z\\])[a-z]\([a-z]\)")
"""Digits that a comma may group or make a decimal, dates, functions of a letter."""
_NUMBERS = re.compile(r"\s*-?\d{1,2}(?:,-?\d{1,2}){2,}\s*")
"""`1,2,3`: at least three numbers, so that no comma is a decimal one."""
_GROUPED = re.compile(r"\s*[-+]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?\s*")
_UNIT = re.compile(r"(?:(\^\s*(?:\{\s*\\circ\s*\}|\\circ))"
                   r"|\s*\\(?:text|mathrm|mbox)\s*\{[^{}\\]*\}(?:\s*\^\s*\{?\d\}?)?|(?<=\d)\s*[a-z]{2,})\s*\Z")
_FUNCTION = re.compile(r"\s*([a-zA-Z]\([a-z]\))\s*=")


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


@lru_cache(maxsize=8192)
def read(text: str) -> Formula | None:
    r"""What a text says; None where that takes a grammar.

    >>> read("2x").tree, read("[1,x)").tree.brackets, read(r"\{1\}").tree.items
    (Operation(sign='*', operands=(Decimal('2'), 'x')), '[)', (Decimal('1'),))
    >>> read("1/2x"), read("0,125"), read("3 + i")
    (None, None, None)
    """
    if len(text) > _LONGEST:
        return None
    if text.count(r"\pm") == 1 and "," not in text:
        return _both(text)
    text = text.strip().removeprefix(r"\$")
    if text.endswith(".") and not text.endswith((r"\right.", r"\left.", "..")):
        text = text[:-1]
    measured = _UNIT.search(text)
    name = ("degree" if measured[1] else unit(text)) if measured else None
    function = _FUNCTION.match(text)
    rest = text[function.end() if function else 0:measured.start() if measured and name else len(text)]
    if _AMBIGUOUS.search(rest) and not _NUMBERS.fullmatch(rest):
        return _grouped(rest, name) if _GROUPED.fullmatch(rest) and not function else None
    try:
        reader = Reader(rest)
        tree = Equation(function[1], reader.whole_scalar()) if function else reader.whole()
    except (OpenError, RecursionError):
        return None
    if name and isinstance(tree, Collection):
        return None
    names = reader.names | {function[1]} if function else reader.names
    return Formula(tree, frozenset(names), "." in rest, name)


def _both(text: str) -> Formula | None:
    r"""The two answers of `1 \pm \sqrt{2}`."""
    signs = [read(text.replace(r"\pm", sign)) for sign in "+-"]
    if None in signs or any(each.unit or isinstance(each.tree, Collection) for each in signs if each):
        return None
    both = [each for each in signs if each]
    return both[0]._replace(tree=Collection("{}", tuple(each.tree for each in both)))


def _grouped(text: str, name: str | None) -> Formula:
    """`12,000`."""
    groups = Collection("{}", tuple(map(Decimal, text.split(","))))
    return Formula(Decimal(text.replace(",", "").strip()), frozenset(), "." in text, unit=name, also=groups)
