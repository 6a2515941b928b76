r"""math-verify's grammar, run faster: the same trees.

ANTLR looks ahead with the whole context of the parse wherever less leaves a choice, and in Python that takes most of
the time of a comparison. Here it does so only where a parse without it fails.
"""

from dataclasses import replace
from typing import TypeAlias

import sympy
from antlr4 import PredictionMode
from latex2sympy2_extended.antlr_parser import PSParser
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, _Latex2Sympy
from latex2sympy2_extended.math_normalization import normalize_latex
from math_verify import LatexExtractionConfig
from math_verify.parser import get_last_eq

_LATEX = LatexExtractionConfig(boxed_match_priority=-1)
_NORMALIZATION = replace(_LATEX.normalization_config, boxed="last")
Parsed: TypeAlias = sympy.Basic | sympy.MatrixBase
"""What a text is read as."""


def parsed(text: str, is_real: bool | None, lowercase: bool) -> Parsed | None:
    """What math-verify's grammar makes of the whole text; None where it makes nothing.

    math-verify itself falls back to the last number that it finds: it reads 7 in `-2 \\le x \\le 7` and in
    `1 2 ... 7`. A guess is no reading.
    """
    config = ConversionConfig(lowercase_symbols=lowercase)
    latex = normalized(text)
    for candidate in dict.fromkeys((latex, get_last_eq(latex))):
        for converter in (_Converter, _Latex2Sympy):
            try:
                return _with_named_derivatives(converter(is_real=is_real, config=config).parse(candidate))
            except (RecursionError, MemoryError):
                raise
            except Exception:  # noqa: BLE001 - the grammar has no error of its own
                continue
    return None


def _with_named_derivatives(expression: Parsed) -> Parsed:
    """An expression with a variable for each derivative of a variable, which sympy would compute as 0."""
    if not isinstance(expression, sympy.Basic):
        return expression
    names = {each: sympy.Symbol(str(each)) for each in expression.atoms(sympy.Derivative) if each.expr.is_Symbol}
    return expression.xreplace(names) if names else expression


def normalized(text: str) -> str:
    """A text after math-verify's own normalisation."""
    return normalize_latex(f"\\boxed{{{text}}}", config=_NORMALIZATION)  # type: ignore[no-any-return]


class _Converter(_Latex2Sympy):  # type: ignore[misc]
    """math-verify's converter with ANTLR's fast mode of prediction, which looks ahead without the whole context.

    A parse that succeeds so is the parse in the full mode; one that fails may be none (documentation of ANTLR 4,
    `PredictionMode.SLL`), as with a symbol before `^` or `_`.
    """

    def create_parser(self, latex_str: str) -> PSParser:
        parser = super().create_parser(latex_str)
        parser._interp.predictionMode = PredictionMode.SLL
        return parser
