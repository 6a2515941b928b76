r"""Answers that look like arithmetic and are none: ratios, times, dates, ranges, numbered names, lists with dots.

`4:2:1` is not 2, `10:05` not `2:01`, `2024-03-05` not 2016 and `1, 2, \ldots, n` not 2. Here such answers are told
from arithmetic and taken apart; `notation_equality` compares them.
"""

import math
import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from sparkcli.method.answers import without_text_commands

LONGEST = 300
_GAP = re.compile(r"\\(?:left|right)(?![a-zA-Z])|\\[,;:! ]|\\(?:q?quad|displaystyle)(?![a-zA-Z])|[$~]|\s+")
_CUT_OFF = re.compile(r"[-+]?\d*\.\d+\s*(?:\\[lc]?dots[bco]?|\.{3})")
"""A decimal that goes on, which is a number."""
_DOTS = re.compile(r"\\(?:[ldc]?dots[bcimo]?|hdots)(?![a-zA-Z])|\.{3,}")

_MERIDIEM = r"(?:\s*(?P<half>[AaPp])\.?\s*[Mm]\.?)"
_CLOCK = re.compile(rf"(?P<hour>\d{{1,2}})(?::(?P<minute>\d{{2}})(?::(?P<second>\d{{2}}))?"
                    rf"(?:{_MERIDIEM}| noon| midnight)?"
                    rf"|{_MERIDIEM.replace('half', 'half2')})"
                    r"|(?P<hour2>\d{1,2})[\u70b9\u65f6](?P<minute2>\d{1,2})\u5206")
_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
           "december")
_MONTH = r"(?P<month>[A-Za-z]{3,9})\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_DATES = tuple(re.compile(pattern) for pattern in (
    r"(?P<year>\d{4})([-/.])(?P<number>\d{1,2})\2(?P<day>\d{1,2})",
    r"(?P<number>\d{1,2})([-/.])(?P<day>\d{1,2})\2(?P<year>\d{4})",
    r"(?P<year>\d{4})\u5e74(?P<number>\d{1,2})\u6708(?P<day>\d{1,2})\u65e5",
    rf"{_MONTH} {_DAY}(?:,? (?P<year>\d{{4}}))?", rf"{_DAY} (?:of )?{_MONTH}(?:,? (?P<year>\d{{4}}))?"))
_JOINED = tuple(re.compile(pattern) for pattern in (
    r"\+?\(?\d+(?:,\d{3})*\)?(?:\.\d+)?\\?%?(?:-\d+(?:,\d{3})*(?:\.\d+)?\\?%?)+"
    r"(?: (?:[A-Za-z]{3,12}|[cmk]m|[km]g|m[lL]|ft|in|lb|hr|mi|yd|oz)\b\.?)*",
    r"\d+(?:/\d+){2,}", r"\d+(?:\.\d+){2,}", r"\d+'\d+(?:''|\")?",
    r"\(?\+?\d+(?:\)?[ -]\(?\d+)+\)?(?:\(\d+(?: \d+)+\))*"))
"""Numbers joined by hyphens, slashes, dots, feet and inches, or nothing but spaces."""
_LABEL = re.compile(r"[A-Z](?:-[A-Z]){2,}|[A-F][+-]|[A-Z]{1,3}-?\d+[A-Za-z]?"
                    r"|(?:[A-Z][a-z]?\d*)+[A-Z][a-z]?\d+(?:[A-Z][a-z]?\d*)*"
                    r"|(?:[A-Z][a-z]?\d+)+[A-Z][a-z]?")
_ROMAN = re.compile(r"(?=[IVX]{2}|[MDCLXVI]{3})M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_WORDS = re.compile(r"(?<![A-Za-z])(?:and|or|[ap]\.?m)(?![A-Za-z])")
_ARROW = re.compile(r"\s*(?:\\(?:long)?(?:to|rightarrow|Rightarrow|implies)(?![a-zA-Z])|[-=]+>)\s*")
_MEASURED = re.compile(r"(\d+(?:\.\d+)?) ?([A-Za-z]+)")
_MEASURE = re.compile(r"\d+(?:\.\d+)? ?[A-Za-z]+\.?(?:(?:,? and |, ?| )?\d+(?:\.\d+)? ?[A-Za-z]+\.?)*")
_SIZES = {name: (dimension, Fraction(size)) for dimension, sizes in {
    "time": (("s sec second", 1), ("min minute", 60), ("h hr hour", 3600), ("day", 86400), ("week", 604800)),
    "length in feet": (("in inch inche", 1), ("ft foot feet", 12), ("yd yard", 36), ("mi mile", 63360)),
    "length": (("mm millimeter", 1), ("cm centimeter", 10), ("m meter", 1000), ("km kilometer", 10**6)),
    "mass": (("g gram", 1), ("kg kilogram", 1000)), "weight": (("oz ounce", 1), ("lb pound", 16)),
    "money": (("cent", 1), ("dollar", 100))}.items() for names, size in sizes for name in names.split()}
"""Units, without the s of a plural, and how large they are."""
_EQUATION = re.compile(r"([^=<>]+)=([^=<>]+)")


class Notation(NamedTuple):
    """A kind of notation, and its items in their order.

    `is_surely`: it is no arithmetic, whatever it is compared with.
    """

    kind: str
    items: tuple[str, ...]
    is_surely: bool = True


def bare(text: str) -> str:
    """The text without what TeX sets around it."""
    text = without_text_commands(text.strip().removesuffix(".") if not text.endswith("..") else text)
    text = re.sub(r"\\?\$(?=\d)|\\\$", "", text)
    text = re.sub(r"\\colon(?![a-zA-Z])|\\mathbin\s*\{:\}|\{:\}", ":", text)
    text = re.sub(r"(?<=\d)\s+(?:to|through)\s+(?=\d)", "-", text)
    text = " ".join(_GAP.sub(" ", re.sub(r"\^\{?\s*(?:\\prime|')\s*\}?", "'", text)).split())
    return text[1:-1].strip() if re.fullmatch(r"\{[^{}]*\}", text) else text


@lru_cache(maxsize=8192)
def named(text: str, is_gold: bool) -> tuple[str, Notation | None]:
    """A notation and what it is said to be equal to: `a:b:c = 1:2:3`."""
    text = bare(text)
    if (found := notation(text, is_gold)) is not None:
        return "", found
    equation = _EQUATION.fullmatch(text)
    value = notation(equation[2].strip(), is_gold) if equation else None
    if equation is None or value is None or not value.is_surely:
        return "", None
    return equation[1].replace(" ", ""), value


def notation(text: str, is_gold: bool) -> Notation | None:
    r"""The notation that a text is; None for what may be arithmetic.

    >>> notation("4:2:1", True), notation("10:05", True).items, notation("2024-03-05", False).items
    (Notation(kind='ratio', items=('4', '2', '1'), is_surely=True), ('10', '05', '', ''), ('2024', '3', '5'))
    >>> notation("5-3", False), notation("5-3", True).items, notation("5 - 3", True), notation("1.5", True)
    (None, ('5', '3', '-'), None, None)
    """
    if _DOTS.search(text) and not _CUT_OFF.fullmatch(text):
        return _dotted(text)
    if len(steps := _ARROW.split(text)) > 1 and all(steps) and "lim" not in text:
        return Notation("chain", tuple(steps))
    return (_time(text) or _date(text) or _ratio(text) or _joined(text, is_gold) or _measure(text)
            or _label(text, is_gold))


def notation_of(text: str) -> Notation | None:
    """The notation that a gold answer is."""
    return named(text, is_gold=True)[1] if len(text) <= LONGEST else None


def _dotted(text: str) -> Notation | None:
    """Items of a list with dots; of sums with dots the whole is one item."""
    inner = re.fullmatch(r"(\\\{|[(\[{])(.*)(\\\}|[)\]}])", text)
    items = [item.strip() for item in split(inner[2] if inner else text)]
    items = [_DOTS.sub("...", item) for item in items if item]
    return Notation("list with dots", (inner[1] + inner[3] if inner else "", *items))


def _time(text: str) -> Notation | None:
    """Hour, minute, second, half of the day. Surely a time is what is no reduced ratio, or has the half of the day."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    hour, minute = match["hour"] or match["hour2"], match["minute"] or match["minute2"]
    half = (match["half"] or match["half2"] or "").lower()
    if int(hour) > 24 or int(minute or 0) > 59 or int(match["second"] or 0) > 59:
        return None
    if minute is None:
        return Notation("time", (hour, "00", "", half), is_surely=False)
    numbers = [int(hour), int(minute), *([int(match["second"])] if match["second"] else [])]
    is_ratio = not half and 0 not in numbers and math.gcd(*numbers) == 1 and not re.search(r"(?<!\d)0\d", text)
    return Notation("time", (hour, minute, match["second"] or "", half), is_surely=not is_ratio)


def _date(text: str) -> Notation | None:
    """Year, month and day; a number of a month before or after the day is told apart only if it must be."""
    for pattern in _DATES:
        if match := pattern.fullmatch(text):
            parts = match.groupdict()
            month = _month(parts["month"]) if "month" in parts else int(parts["number"])
            day = int(parts["day"])
            if "month" not in parts and month > 12 >= day and not text.startswith(parts["year"]):
                month, day = day, month
            if 1 <= month <= 12 and 1 <= day <= 31:
                return Notation("date", (parts["year"] or "", str(month), str(day)))
    return None


def _month(name: str) -> int:
    name = name.lower()
    return next((place for place, month in enumerate(_MONTHS, 1) if name in (month, month[:3])), 0)


def _ratio(text: str) -> Notation | None:
    bare = text[1:-1] if re.fullmatch(r"[(\[][^()\[\]]*[)\]]", text) else text
    items = tuple(item.strip() for item in bare.split(":"))
    if len(items) < 2 or not all(re.fullmatch(r"[-+*^/\w.{}\\() ]+", item) for item in items) or _WORDS.search(text):
        return None
    return Notation("ratio", items, is_surely=len(items) > 2)


def _joined(text: str, is_gold: bool) -> Notation | None:
    """Ranges, scores, telephone numbers, versions, sequences without commas."""
    match = next((True for pattern in _JOINED if pattern.fullmatch(text)), False)
    items = tuple(re.findall(r"\d[\d,]*(?:\.\d+)?" if "-" in text else r"\d+", text)) if match else ()
    if not items or (len(items) == 2 and "-" in text and not is_gold):
        return None
    if " " in text and re.fullmatch(r"\d{1,3}(?: \d{3})+(?:\.\d+)?|\d+ \d+/\d+", text):
        return None
    if re.fullmatch(r"\d+(?:/\d+){2,}", text) and not is_gold:
        return None
    if re.fullmatch(r"[1-9]\d{0,2}(?:(?:\.\d{3}){2,}|(?:'\d{3})+)", text):
        return None
    joint = "-" if "-" in text else "".join(dict.fromkeys(re.findall(r"[/. ']", text)))
    return Notation("sequence of numbers" if joint == " " else "number in several parts", (*items, joint))


def _measure(text: str) -> Notation | None:
    """A measure in several units, in the smallest of them; one in a single unit is a quantity, which is computed."""
    if not _MEASURE.fullmatch(text):
        return None
    pieces = _MEASURED.findall(text)
    sizes = [_SIZES.get(unit.rstrip("s").lower()) for _, unit in pieces]
    known = [size for size in sizes if size]
    if len(known) < len(sizes) or len({dimension for dimension, _ in known}) != 1:
        return None
    total = sum((Fraction(value) * size for (value, _), (_, size) in zip(pieces, known, strict=True)), Fraction())
    return Notation("measure", (known[0][0], str(total)), is_surely=len(pieces) > 1)


def _label(text: str, is_gold: bool) -> Notation | None:
    is_label = is_gold and (_LABEL.fullmatch(text) or _ROMAN.fullmatch(text))
    return Notation("label", (text.upper(),)) if is_label else None


def split(text: str) -> list[str]:
    """The text at its commas and semicolons outside of brackets."""
    items, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character in ",;" and depth <= 0:
            items.append(text[start:place])
            start = place + 1
    return [*items, text[start:]]
