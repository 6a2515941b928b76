r"""The value of a text that is one number, perhaps with a unit. See `number` for what is understood.

TeX becomes plain text first; a backslash that remains, or a letter as algebra has them, means that it is an expression.
"""

import functools
import math
import re
import unicodedata
from dataclasses import dataclass, field
from decimal import Decimal

_LONGEST = 200

TEXT_COMMAND = re.compile(r"\\(?:text(?:bf|it|rm|normal)?|math(?:rm|bf|it|sf)|mbox|operatorname|rm|bf|it)(?![a-zA-Z])")
"""What TeX sets words with."""
_SPACING = re.compile(r"\\(?:[,;:! ]|(?:left|right|q?quad)(?![a-zA-Z]))|~|\s")
_SYMBOLS = {r"\%": "%", "{,}": ",", r"\times": "×", r"\cdot": "·", "**": "^", "\u2212": "-", r"^\circ": "°",
            r"^{\circ}": "°", r"\circ": "°", r"\degree": "°", r"\approx": "≈", r"\simeq": "≈", r"\mu": "µ",
            r"\Omega": "Ω", r"\pounds": "£", r"\euro": "€", r"\$": "$", "\u2019": "'"}
_TEX_FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{\s*(-?[\w.]+)\s*\}|(\d))\s*(?:\{\s*([\w.]+)\s*\}|(\d))")
_VULGAR_FRACTION = re.compile(r"[\u00bc-\u00be\u2150-\u215e]")
_SUPERSCRIPT = re.compile(r"[⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_MONEY = re.compile(r"[$€£¥₹₩]|\b(?:US|CA|A)(?=\$)|\b(?:USD|EUR|GBP|JPY|INR|CNY|RMB|CHF|Rs)\b\.?")

_RELATION = re.compile(r"(?<![<>!])=|≈")
_SEVERAL = re.compile(r"[,;](?!\d{3})|\b(?:and|or)\b")
_LEAD = re.compile(r"(?:(?:about|approximately|approx\.?|around|roughly|nearly|almost|exactly|circa|ca\.)\s+|~\s*)+",
                   re.IGNORECASE)
_GROUPED = re.compile(r"(?<![\d.,])(?:\d{1,3}([,'_ ])\d{3}(?:\1\d{3})*|\d{1,2}(?:,\d{2})+,\d{3})(?![,'_]?\d)")
_DOTTED = re.compile(r"(?<![\d.,])(?:\d{1,3}(?:\.\d{3})+,\d{1,2}|\d{1,3}(?:\.\d{3}){2,})(?![.,]?\d)")

_SIGN = r"(?P<sign>[+-]?)\s*"
_POWER_OF_10 = r"10\^\(?(?P<exponent>[+-]?\d{1,3})\)?(?!\d)"
_DECIMAL = r"(?P<value>\d+\.?\d*|\.\d+)"
_REST = r"(?P<unit>(?![\d.]).*)"
_MIXED = re.compile(rf"{_SIGN}(?P<whole>\d+)\s*(?:\s|(?=\())\(?(?P<over>\d+)\s*/\s*(?P<under>\d+)\)?{_REST}")
_FORMS = tuple(re.compile(_SIGN + form + _REST) for form in (
    _POWER_OF_10,
    r"\((?P<over>-?\d+\.?\d*)\s*/\s*(?P<under>\d+\.?\d*)\)",
    r"(?P<over>\d+\.?\d*)\s*/\s*(?P<under>\d+\.?\d*)",
    rf"{_DECIMAL}\s*[×·x*]\s*{_POWER_OF_10}",
    rf"{_DECIMAL}[eE](?P<exponent>[+-]?\d{{1,3}})(?!\d)",
    _DECIMAL))
_WORD = r"[^\W\d_]++"
_UNIT = re.compile(rf"(?:{_WORD}(?:\^\(?-?\d\)?)?|\({_WORD}(?:[ /]{_WORD})*+\)|[°%'\"]|[/·.-](?={_WORD})|\s)*+\.?\s*")
_LETTER = re.compile(r"(?<![^\W\d_])[^\W\d_](?![^\W\d_])")
_LETTERS_OF_UNITS = frozenset("dghlmstACFHJKLNTVWµμΩ")
_NO_UNIT = re.compile(r"\b(?:to|or|and|plus|minus|times|over|half|tenths?|hundredths?|thousandths?)\b", re.IGNORECASE)
_SCALE = re.compile(r"%|\b(?:per ?cent|dozen|hundred|thousand|million|billion|trillion)\b", re.IGNORECASE)
_SCALES = {"%": 1e-2, "percent": 1e-2, "per cent": 1e-2, "dozen": 12.0, "hundred": 1e2, "thousand": 1e3,
           "million": 1e6, "billion": 1e9, "trillion": 1e12}
_EXACT = 2.0**53
"""Above it floats do not hold every integer."""
_ROUNDING = 0.02
"""How far, relatively, the sides of `10/3 ≈ 3.3` may be apart."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number as it is written, what a percent sign or a word like `million` multiplies it with, and the unit.

    `whole` is the number itself where it is an integer of more digits than a float holds.
    """

    value: float
    scale: float = field(default=1.0)
    unit: str = field(default="")
    whole: int | None = field(default=None)

    def __str__(self) -> str:
        text = f"{self.value:.12g}" if self.whole is None else str(self.whole)
        return text if self.scale == 1.0 else f"{text}%" if self.scale == 1e-2 else f"{text} × {self.scale:g}"


def quantity(text: str) -> Quantity | None:
    r"""The number that a text is; None for anything else.

    >>> [quantity(text).value for text in ("$1,234.50", r"\frac{3}{4}", r"4.5 \times 10^{3}\text{ J}", r"x = 50\%")]
    [1234.5, 0.75, 4500.0, 50.0]
    >>> [quantity(text) for text in ("7 to 9", r"5\pi", "3,5")]
    [None, None, None]
    """
    return _quantity(text) if len(text) <= _LONGEST else None


@functools.lru_cache(maxsize=4096)
def _quantity(text: str) -> Quantity | None:
    sides = _RELATION.split(_plain(text))
    if len(sides) > 1 and any(_SEVERAL.search(side) for side in sides):
        return None
    found = [side for side in map(_one, sides) if side is not None]
    if any(not math.isclose(side.value, found[0].value, rel_tol=_ROUNDING) for side in found):
        return None
    return found[0] if found else None


def _plain(text: str) -> str:
    text = _SPACING.sub(" ", TEXT_COMMAND.sub("", text.strip("*` \n")))
    for tex, sign in _SYMBOLS.items():
        text = text.replace(tex, sign)
    text = _TEX_FRACTION.sub(lambda match: f"({match[1] or match[2]}/{match[3] or match[4]})", text)
    text = _VULGAR_FRACTION.sub(r" \g<0>", _SUPERSCRIPT.sub(_as_power, _MONEY.sub("", text)))
    text = unicodedata.normalize("NFKC", text).replace("\u2044", "/").replace("\u2212", "-")
    return _DOTTED.sub(_as_decimal, text.replace("{", "").replace("}", "")).strip()


def _as_power(match: re.Match[str]) -> str:
    return "^" + unicodedata.normalize("NFKC", match[0]).replace("\u2212", "-")


def _as_decimal(match: re.Match[str]) -> str:
    return match[0].replace(".", "").replace(",", ".")


def _one(side: str) -> Quantity | None:
    """The number that one side of an equation is."""
    text = _LEAD.sub("", side.strip(), count=1)
    mixed = _MIXED.fullmatch(text)  # before the space is taken for a separator
    if mixed and float(mixed["over"]) < float(mixed["under"]):
        return _from(mixed)
    text = _GROUPED.sub(lambda match: re.sub(r"\D", "", match[0]), text)
    matches = (form.fullmatch(text) for form in _FORMS)
    match = next((match for match in matches if match), None)
    return _from(match) if match else None


def _from(match: re.Match[str]) -> Quantity | None:
    """What one of the forms has matched, if its unit can be one."""
    parts = match.groupdict()
    unit = match["unit"]
    if not _UNIT.fullmatch(unit) or _NO_UNIT.search(unit) or not _LETTERS_OF_UNITS.issuperset(_LETTER.findall(unit)):
        return None
    under = float(parts.get("under") or 1)
    if not under:
        return None
    written = f"{parts.get('value') or 1}e{parts.get('exponent') or 0}"
    value = float(written)  # too large is infinite, not an error
    if parts.get("over"):
        value = float(parts.get("whole") or 0) + float(parts["over"]) / under
    scale = math.prod((_SCALES[word.lower()] for word in _SCALE.findall(unit)), start=1.0)
    if not math.isfinite(value):
        return None
    whole = _integer(written) if value > _EXACT and not parts.get("over") else None
    sign = -1 if match["sign"] == "-" else 1
    return Quantity(sign * value, scale, "".join(unit.split()), whole and sign * whole)


def _integer(written: str) -> int | None:
    number = Decimal(written)
    return int(number) if number == number.to_integral_value() else None
