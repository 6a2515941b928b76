r"""Letters in roman, bold, with hats and primes, as math-verify is to read them.

math-verify drops a last `\mathrm{…}` as a unit, whatever it is, and all primes, and stops at a bold letter with a hat.
Here a style is only a style: `\mathrm{x}` is x, `\mathbf{v}` is v. Accents and primes belong to the name. i, j and k in
bold, with a hat or an arrow are the same unit vectors. What stays in roman is a unit behind a quantity, and words.
"""

import re

_STYLE = (r"\\(?:text(?:bf|it|rm|sf|tt|normal|up)?|math(?:rm|bf|it|sf|tt|normal)|[mh]box|boldsymbol|bm|pmb"
          r"|operatorname\*?)")
_ACCENT = r"\\(?:hat|widehat|vec|overrightarrow|bar|overline|tilde|widetilde|dot|ddot)"
_BOLD = r"\\(?:mathbf|boldsymbol|bm|pmb)"
_FUNCTION = (r"arcsin|arccos|arctan|arccot|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|lg|exp|max|min|gcd|lcm|lim"
             r"|det|deg|dim|ker")
_OPERATORS = (r"ar[ct]*(?:sinh|cosh|tanh)|floor|ceil|rank|trace|tr|rref|nullspace|norm|eig\w*|svd|SVD|cols|rows|gcd|lcm"
              r"|zeros|ones|eye|diag\w*|[hv]stack|orth\w*")
"""Operators that the grammar knows."""

_RULES = tuple((re.compile(pattern), replacement) for pattern, replacement in (
    # {\rm x}, \bf{x}; \hat x, \mathrm x; \mathbf{\hat{x}}, \hat{\mathbf{x}}; \operatorname{sin}; \mathrm{pi}
    (r"\{\s*\\(rm|bf|it)(?![a-zA-Z])\s*([^{}]*)\}", r"\\math\1{\2}"),
    (r"\\(rm|bf|it)\s*(?=\{)", r"\\math\1"),
    (rf"({_ACCENT}|{_STYLE})\s+([a-zA-Z])(?![a-zA-Z])", r"\1{\2}"),
    (rf"({_ACCENT})\s*(\\[ij]math)(?![a-zA-Z])", r"\1{\2}"),
    (rf"{_STYLE}\s*\{{\s*({_ACCENT}\s*\{{[^{{}}]*\}})\s*\}}", r"\1"),
    (rf"({_ACCENT})\s*\{{\s*{_STYLE}\s*\{{\s*([^{{}}]*?)\s*\}}\s*\}}", r"\1{\2}"),
    (rf"(?:{_ACCENT}|{_BOLD})\s*\{{\s*(?:\\([ij])math|([ijk]))\s*\}}", r"\\vec{\1\2}"),
    (rf"{_STYLE}\s*\{{\s*({_FUNCTION})\s*\}}", r"\\\1 "),
    (rf"{_STYLE}\s*\{{\s*pi\s*\}}", r"\\pi "),
    (r"\\wide(hat|tilde)", r"\\\1"),
    (rf"{_STYLE}\s*\{{\s*mod\s*\}}", r"\\mod "),
    (r"\\mathop\s*\{([^{}]*)\}", r"\1"),
    (rf"\\operatorname\*?\s*\{{(?!\s*(?:{_OPERATORS})\s*\}})", r"\\text{"),
    # bold and italics are never units
    (rf"{_BOLD}\s*\{{\s*(?:([a-zA-Z])|(\\[a-zA-Z]+))\s*\}}", r" \1\2 "),
    (rf"{_BOLD}\s*\{{\s*([^{{}}\\]*?)\s*\}}", r"{\1}"),
    (r"\\(?:mathit|mathnormal|mathsf|mathtt)\s*\{\s*([^{}\\]*?)\s*\}", r"{\1}"),
))
_ROMAN = re.compile(r"\\(?:text(?:rm|normal|up|it|bf)?|mathrm|[mh]box|operatorname)\s*"
                    r"\{([\s~]*)([A-Za-z]{1,4})[\s~]*\}")
_UNIT_LETTERS = frozenset("mghslLAVWJNKCFTHz")
_BEHIND = re.compile(r"(?:\d|\d[\s~]*\}|\\pi\s*|\\sqrt\{\d+\}|\}\s*/\s*|\\circ\}?\s*|\\%|\\mu\s*"
                     r"|\\(?:mathrm|text|mbox)\{[^{}]*\}(?:\^\s*\{?-?\d\}?)?)"
                     r"(?:[\s~]|\\[,;:! ]|\\cdot\s*|\\times\s*|/)*$")
"""What stands before a unit: a number, a fraction, a root, another unit."""
_AFTER = re.compile(r"(?:[\s~]|\\[,;:! ])*"
                    r"(?:$|[,;.)\]/$]|\\(?:text|mathrm|mbox|cdot|times|right|\})|\^\s*\{?\s*-?\d\s*\}?)")
_PRIMED = re.compile(r"(?<![a-zA-Z\\])([a-zA-Z])(?:\^\s*\{?\s*((?:\\prime\s*)+)\}?|('{1,3}))(?!')")
_UNIT_VECTOR = re.compile(r"\\vec\{[ijk]\}")
_PLAIN_VECTOR = re.compile(r"(?<![a-zA-Z\\{_])([ijk])(?![a-zA-Z])")
_DIFFERENTIAL = re.compile(r"\\i+nt(?![a-z])|\\frac\s*\{\s*d|d[a-z]\s*/\s*d[a-z]|\bd[xytu]\b")
_LONE_D = re.compile(r"\\(?:text[a-z]*|math[a-z]+|[mh]box|operatorname\*?)\s*\{[^{}]*\}|\\[a-zA-Z]+"
                     r"|d(?=\s*(?:[a-zA-Z]|\\(?:end|cdot|\\|[a-z]+)))")
"""A d that the grammar would take for a differential, or a command or text, which stays."""
_IMAGINARY = re.compile(r"(?<!\\vec\{)(?<![a-zA-Z\\_])i(?![a-zA-Z])"
                        r"|(?<=[0-9}])i(?![a-zA-Z])|(?<=\s)i(?=\\)|(?<=\\pi)i(?![a-zA-Z])")
_INDEX = re.compile(r"\\(?:sum|prod|lim|int)\b|_\{?\s*i\b|[a-hj-zA-Z]\(i\)|\bi\s*(?:=|\\in)")


def with_plain_letters(text: str, has_vectors: bool = False) -> str:
    r"""A text whose letters bear no style but that of units. `has_vectors`: a plain i, j or k is a unit vector.

    >>> [with_plain_letters(text) for text in (r"2+3\mathrm{i}", r"5\,\mathrm{m}", r"\hat{\mathbf{k}}")]
    ['2+3{I}', '5\\,\\mathrm{m}', '\\vec{k}']
    """
    if "\\" in text:
        for pattern, replacement in _RULES:
            text = pattern.sub(replacement, text)
        text = _ROMAN.sub(_without_style, text)
    text = _PRIMED.sub(_with_prime, text)
    if has_vectors or (_standalone(text, "i") and _standalone(text, "j")):
        text = _PLAIN_VECTOR.sub(r"\\vec{\1}", text)
    if "d" in text and not _DIFFERENTIAL.search(text):
        text = _LONE_D.sub(lambda match: "{d}" if match[0] == "d" else match[0], text)
    if not _INDEX.search(text):
        text = _IMAGINARY.sub("{I}", text)  # braces: math-verify drops the exponent of `I^2`
    return text


def has_unit_vectors(text: str) -> bool:
    """Whether a rewritten text has one of the unit vectors i, j and k."""
    return _UNIT_VECTOR.search(text) is not None


def _standalone(text: str, letter: str) -> bool:
    return re.search(rf"(?<![a-zA-Z\\{{_]){letter}(?![a-zA-Z])", text) is not None


def _without_style(match: re.Match[str]) -> str:
    """A letter, or a few capitals, in roman as plain letters unless they are the unit of what they stand behind."""
    gap, word = match[1], match[2]
    before, after = match.string[max(0, match.start() - 40):match.start()], match.string[match.end():match.end() + 20]
    is_behind = _BEHIND.search(before) is not None
    if len(word) == 1:
        is_unit = word in _UNIT_LETTERS and is_behind and _AFTER.match(after)
        return match[0] if is_unit else f" {word} " if gap else f"{{{word}}}" if word == "e" else word
    is_name = (word.isupper() or len(word) == 2) and not is_behind and not gap and match[0].startswith("\\mathrm")
    return word if is_name else match[0]


def _with_prime(match: re.Match[str]) -> str:
    primes = match[2].count("prime") if match[2] else len(match[3])
    return rf"{match[1]}_{{{chr(92)}prime{(' ' + chr(92) + 'prime') * (primes - 1)}}}"
