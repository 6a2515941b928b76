r"""Spellings that math-verify misreads, rewritten to ones that it reads rightly, before it sees them.

Everything is text in, text out. Each rule is here because math-verify 0.9 reads the left-hand side as something else,
or as nothing; a pair of tests/verifiers/math_pairs.jsonl or math_notation_pairs.jsonl shows each at work.
"""

import re
from collections.abc import Callable
from fractions import Fraction

from sparkcli.verifiers.mathematics.letters import with_plain_letters
from sparkcli.verifiers.mathematics.separators import with_commas, with_open_brackets, with_rows, with_single_commas

_WRAPPERS = (("**", "**"), ("`", "`"), (r"\(", r"\)"), (r"\[", r"\]"))
_SCALES = {"dozen": "12", "hundred": "10^{2}", "thousand": "10^{3}", "million": "10^{6}", "billion": "10^{9}",
           "trillion": "10^{12}", "\u4e07": "10^{4}", "\u4ebf": "10^{8}", "\u5104": "10^{8}", "\u842c": "10^{4}"}
_DOTS = r"\s*(?:\\[lc]?dots[bco]?(?![a-zA-Z])|\.{3})\s*$"
_FUNCTIONS = r"arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|exp"


def _repeating(match: re.Match[str]) -> str:
    """`0.1\\overline{6}` as a fraction."""
    whole, still, turning = match.groups()
    shift, period = 10**len(still), 10**len(turning) - 1
    value = Fraction(int(whole or 0)) + Fraction(int(still or 0) * period + int(turning), shift * period)
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def _degrees(match: re.Match[str]) -> str:
    """`30^\\circ 15'` in degrees."""
    whole, minutes, seconds = (Fraction(part or 0) for part in match.groups())
    value = whole + minutes / 60 + seconds / 3600
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}^{{\circ}}"


def _scaled(match: re.Match[str]) -> str:
    """`1.5 \\text{ million}` with a power of ten."""
    return rf"{match[1]} \times {_SCALES[match[2].lower()]} "


_RULES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), replacement) for pattern, replacement in (
        (r"^\s*(?::?=|\\(?:approx|simeq|sim|cong|therefore|implies|Rightarrow|to)(?![a-zA-Z]))\s*", ""),
        (r"\\(?:pounds|euro|yen|textdollar|texteuro|textsterling)(?![a-zA-Z])\s*", ""),
        (r"\\left\s*\\?\.|\\right\s*\\?\.|\\?#|\\displaystyle\b|~", " "),
        (r"\\text\s*\{\s*((?:or|and|nor|not|but|maybe|perhaps)\b[^{}]*)\}\s*$", r"\\mathbb{\1}"),
        (r"\\colon(?![a-zA-Z])|\\mathbin\s*\{:\}|\{:\}", ":"),
        (r"(?<=\d)\s+(?:[kcm]?m|mi|ft|[kmu]?g|m?L|kWh|J|N)"
         r"/(?:h|hr|s|min|sec|m?L|[cm]?m|kg|day|K)(?:\^\{?[23]\}?)?\s*$", ""),
        (rf"(\d*)\.(\d*?)(\d)\3{{2,}}{_DOTS}", _repeating), (rf"(\d*)\.(\d*?)(\d{{2,6}})\3+{_DOTS}", _repeating),
        (rf"(?<=\d)(\.\d+){_DOTS}", r"\1"),
        (r"\*\*", "^"),
        (r"\^?\s*\{?\s*\\degree(?![a-zA-Z])\s*\}?|(?<=\d)\s*\\circ(?![a-zA-Z])", r"^{\\circ}"),
        (r"\\text\s*\{\s*\(\s*or\s*\}[^()]*\)\s*$", ""),
        (r"(\d+)\s*\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![a-z]))\s*(\d+(?:\.\d+)?)\s*(?:'|\^\s*\{?\s*\\prime\s*\}?)"
         r"(?:\s*(\d+(?:\.\d+)?)\s*(?:''|\"|\^\s*\{?\s*\\prime\s*\\prime\s*\}?))?", _degrees),
        (r"(?<![\w.])0[xX]([0-9a-fA-F]+)(?![\w.])", lambda match: str(int(match[1], 16))),
        (r"(?<![\w.])0[bB]([01]+)(?![\w.])", lambda match: str(int(match[1], 2))),
        (r"(?<![a-zA-Z\\])E(?=\s*_)", r"\\mathbb{E}"),
        (r"(?<=_)\s*\{\s*\\(max|min|sup|inf|lim|odot|oplus|star|ast)\s*\}", r"{\1}"),
        (r"(?<=\d)\.(?=[/*+^)}-])", ""),
        (r"\\(?:langle|lparen)\b", "("),
        (r"\\(?:rangle|rparen)\b", ")"),
        (r"\\varnothing\b", r"\\emptyset "),
        (r"\\lg\b", r"\\log "),
        (r"\\log_\{?e\}?(?![a-zA-Z])", r"\\ln "),
        (rf"(?<![a-zA-Z\\])({_FUNCTIONS})(?=\s*[({{^_\\]|\s+[a-z0-9]\b)", r"\\\1"),
        (r"(?<![a-zA-Z\\])pi(?![a-zA-Z])", r"\\pi "),
        # 0.1\overline{6}; 10\,000; 4.5e33; 3 1/2; \frac ab
        (r"(\d*)\.(\d*)\\(?:overline|bar|dot)\s*\{(\d{1,30})\}(?!\d*\\dot)", _repeating),
        (r"(\d*)\.(\d*)\\dot\s*\{?(\d)\}?(\d{0,30})\\dot\s*\{?(\d)\}?",
         lambda match: rf"{match[1]}.{match[2]}\overline{{{match[3]}{match[4]}{match[5]}}}"),
        (r"(\d*)\.(\d*)\\overline\{(\d{1,30})\}", _repeating), (r"(\d*)\.()\((\d{1,30})\)(?![\d.])", _repeating),
        (r"((?<![\w.^{\\])\d+(?:\.\d+)?|\))\s*(?=\(-?\d+(?:\.\d+)?\))", r"\1 \\cdot "),  # no mixed number
        (r"(?<![\d.,])\d{1,3}(?:(?:\\[,;:! ]|\s)\s*\d{3})+(?!\d)",
         lambda match: re.sub(r"\D", "", match[0])),
        (r"(?<=\d)'(?=\d{3}(?!\d))", ""),
        (r"(?<![\d.,])([1-9]\d{0,2}(?:\.\d{3}){2,})(?![\d.,])", lambda match: match[0].replace(".", "")),
        (r"(\d+\.?\d*)\s*(?:\\text\s*\{\s*)?(dozen|hundred|thousand|million|billion|trillion|[\u4e07\u4ebf\u5104\u842c])s?(?![a-zA-Z])(?:\s*\})?",
         _scaled),
        (r"(?<=[\d})%])\s*(?:/?[A-Za-z]*[^\x00-\x7f]+[A-Za-z]*)+(?:\^\{?\d\}?)?(?=\s*(?:$|[,;)]))", ""),
        (r"(?<![a-zA-Z\\\d.])(\d+\.?\d*|\.\d+)[eE]([+-]?)0*(\d+)(?![\d.a-zA-Z])",
         lambda match: rf"{match[1]} \times 10^{{{match[2].replace('+', '')}{match[3]}}}"),
        (r"(?<![\d./^_{])(\d+)\s+(\d+)\s*/\s*(\d+)(?![\d/])", r"\1\\frac{\2}{\3}"),
        (r"\\[dtc]?frac\s+([a-zA-Z0-9])\s*([a-zA-Z0-9])(?![a-zA-Z])", r"\\frac{\1}{\2}"),
        # ordinals; numerals of a base, whose base is looked at elsewhere; moduli; repeated conditions
        (r"(\d)(?:\^?\{?\\(?:text|mathrm)\{\s*(?:st|nd|rd|th)\s*\}\}?|(?:st|nd|rd|th)\b)", r"\1"),
        (r"^([-+\d.,/{} ]+|[-+]?\d*\\[dt]?frac[\d{}]+)\s+"
         r"(?!(?i:hundred|thousand|million|billion|trillion|dozen)s?\b)"
         r"(?:[A-Za-z]{4,}|(?:per|an?)\s+[A-Za-z]{3,})(?:\s+(?:an?\s+)?[A-Za-z]{3,})*\s*$", r"\1"),
        (r"\s*\\equiv\b", " = "),
        (r"\\pmod\s*(\{[^{}]*\}|\d)", r"\\mod \1"),
        (r"\\?\\\{\s*\(?([a-zA-Z])\)?\s*(?:\\in\s*\\mathbb\{R\}\s*)?(?::|\||\\mid\b|\\vert\b)([^{}]*[<>=\\][^{}]*)\\\}",
         r"\2"),
        (r"^\s*\\text\s*\{(\s*[\d.,]+\s*[a-zA-Z%]*\s*)\}\s*$", r"\1"),
    ))
_GAMMA = re.compile(r"\\gamma(?![a-zA-Z])\s*")
"""The letter, which the grammar takes for the function unless it is written as a character."""
_CHAIN = re.compile(r"\^\s*(\w+)\s*\^\s*(\w+)(?!\w|\s*\^)")
_IN_DEGREES = re.compile(r"(\d+(?:\.\d+)?)\s*\^\s*(?:\{\s*\\circ\s*\}|\\circ\b)")
_TRIGONOMETRY = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-zA-Z])")
_INNER_SIGN = re.compile(r"\\pm(?![a-zA-Z])")
_TAIL = re.compile(r"(.*?[\d}\s])\s*([A-Za-z]{1,2})\s*", re.DOTALL)
_MACRO = re.compile(r"\\(?:text|mathrm|mbox)\s*\{[^{}]*\}|\\[a-zA-Z]+")
_UNIT_LETTERS = frozenset("mghlsLAVWJNKC") | frozenset(
    ("ft", "mm", "cm", "dm", "km", "in", "kg", "mg", "lb", "hr", "mi", "ml", "mL", "gm", "yr", "cc", "sq"))
_COMPOUND_UNIT = re.compile(
    r"(?<=[\d}])(?:\s|~|\\[,;:! ])*(?:\\mu\s*)?(?:\^\s*\{?\s*\\circ\s*\}?\s*(?:\\(?:text|mathrm)\s*\{\s*[CF]\s*\}|[CF])"
    r"|\\mu\s*\\mathrm\{[a-zA-Z]\}|\\(?:text|mathrm|mbox)\s*\{[\s~]*[A-Za-z]{1,4}[\s~]*\}(?:\^\s*\{?\s*-?\d\s*\}?)?(?:(?:\s|~|/|\\cdot|\\times|"
    r"\\[,;:! ])*\\(?:text|mathrm|mbox)\s*\{[\s~]*[A-Za-z]{1,4}[\s~]*\}(?:\^\s*\{?\s*-?\d\s*\}?)?)+)\s*$")
"""Degrees of temperature, micrometres, and units of several factors, behind a quantity."""
_PERCENT = re.compile(r"\s*(?:\\?%|\\text\s*\{\s*(?:percent|\\?%)\s*\}|\bpercent)\s*$")


def rewritten(text: str, has_vectors: bool = False) -> str:
    r"""A text as math-verify is to read it. `has_vectors`: a plain i, j or k is a unit vector.

    >>> rewritten("**3 1/2**"), rewritten("4.5e33"), rewritten("2\\pi."), rewritten("sin(x)")
    ('3\\frac{1}{2}', '4.5 \\times 10^{33}', '2\\pi', '\\sin(x)')
    """
    text = _unwrapped(text.replace("$", " ") if "\\$" not in text else text.replace("\\$", " ").replace("$", " "))
    text = with_open_brackets(with_single_commas(with_commas(with_rows(text))))
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    text = with_plain_letters(text, has_vectors)
    while _CHAIN.search(text):
        text = _CHAIN.sub(r"^{\1^{\2}}", text)
    if _TRIGONOMETRY.search(text):
        text = _IN_DEGREES.sub(r"{\\frac{\1\\pi}{180}}", text)
    text = _GAMMA.sub("\u03b3 ", text)
    return _without_inner_sign(_with_variables(_COMPOUND_UNIT.sub("", text.strip())))


def _unwrapped(text: str) -> str:
    """Without emphasis, mathematics signs and a full stop around it."""
    previous = None
    while previous != text:
        previous, text = text, text.strip()
        for left, right in _WRAPPERS:
            if text.startswith(left) and text.endswith(right) and len(text) >= len(left) + len(right):
                text = text[len(left):len(text) - len(right)].strip()
        text = text.removesuffix("\\").removesuffix(r"\,").removesuffix(",").removesuffix(";")
        text = text.removesuffix(".") if not text.endswith("..") and not text.endswith(r"\right.") else text
    return text


def _with_variables(text: str) -> str:
    r"""Braces around a last variable that math-verify takes for a unit and drops: it reads `3t` as 3, `m g h` as m."""
    match = _TAIL.fullmatch(text)
    if match is None:
        return text
    before, tail = match.groups()
    is_quantity = re.search(r"\d", before) and not re.search(r"[A-Za-z]", _MACRO.sub("", before))
    return text if is_quantity and tail in _UNIT_LETTERS else f"{before.rstrip()} {{{tail}}}"


def _without_inner_sign(text: str) -> str:
    r"""Both answers of a `\pm` within braces, where math-verify does not expect it: `\frac{1\pm 2}{3}`."""
    signs = list(_INNER_SIGN.finditer(text))
    if len(signs) != 1 or "," in text or text.count("{", 0, signs[0].start()) == text.count("}", 0, signs[0].start()):
        return text
    return f"{_INNER_SIGN.sub('+', text)}, {_INNER_SIGN.sub('-', text)}"


def without_percent(text: str) -> tuple[str, bool]:
    r"""A single quantity without its percent sign, and whether it had one.

    >>> without_percent(r"33\frac{1}{3}\%"), without_percent(r"10\%, 20\%")
    (('33\\frac{1}{3}', True), ('10\\%, 20\\%', False))
    """
    bare = _PERCENT.sub("", text)
    return (bare, True) if bare != text and "%" not in bare and "," not in bare else (text, False)


_UNITS = {name: names[0] for names in (
    ("m", "meter", "meters", "metre", "metres", "\u7c73", "\u043c"),
    ("cm", "centimeter", "centimeters", "centimetre", "centimetres", "\u5398\u7c73", "\u516c\u5206", "\u0441\u043c"),
    ("mm", "millimeter", "millimeters", "\u6beb\u7c73", "\u043c\u043c"),
    ("km", "kilometer", "kilometers", "kilometre", "kilometres", "\u5343\u7c73", "\u516c\u91cc", "\u043a\u043c"),
    ("ft", "foot", "feet"), ("in", "inch", "inches"), ("mi", "mile", "miles"), ("yd", "yard", "yards"),
    ("g", "gram", "grams", "\u514b", "\u0433"),
    ("kg", "kilogram", "kilograms", "\u5343\u514b", "\u516c\u65a4", "\u043a\u0433"), ("mg", "milligram", "milligrams"),
    ("lb", "pound", "pounds"), ("mL", "ml", "milliliter", "milliliters", "\u6beb\u5347"),
    ("L", "liter", "liters", "litre", "litres", "\u5347"),
    ("s", "sec", "second", "seconds", "\u79d2"), ("min", "minute", "minutes", "\u5206\u949f"),
    ("h", "hr", "hour", "hours", "\u5c0f\u65f6"), ("day", "days", "\u5929"), ("week", "weeks", "\u5468"),
    ("year", "years", "yr", "\u5e74"), ("yuan", "\u5143", "\u5757"), ("jiao", "\u89d2"), ("yen", "\u5186"),
    ("dollar", "dollars"), ("cent", "cents"), ("euro", "euros"),
) for name in names}
_UNIT = re.compile(r"(?:[\d}\s~]|\\[,;:! ])\s*(?:([^\x00-\x7f]+)"
                   r"|\\(?:text|mathrm|mbox)\s*\{[\s~]*([A-Za-z]+)\.?\s*\}|(?<=[\d\s])([A-Za-z]+))"
                   r"(?:\s*\^\s*\{?\d\}?)?[\s$.]*$")


def unit(text: str) -> str | None:
    r"""The unit that a text ends with, if it is one of the common ones, under its short name; powers do not count.

    >>> unit(r"5\text{ meters}"), unit("5 kg"), unit(r"5 \text{ cm}^2"), unit("5x")
    ('m', 'kg', 'cm', None)
    """
    match = _UNIT.search(text)
    return _UNITS.get(match[1] or match[2] or match[3]) if match else None
