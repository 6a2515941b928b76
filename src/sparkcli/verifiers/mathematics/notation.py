r"""Answers that look like arithmetic and are none: ratios, times, dates, ranges, numbered names, lists with dots.

`4:2:1` is not 2, `10:05` not `2:01`, `2024-03-05` not 2016 and `1, 2, \ldots, n` not 2. Such an answer is compared with
others of its kind, item by item; a gold answer of this sort equals nothing that is computed. Two notations that are
also arithmetic keep their value where nothing else can be meant: a ratio of two is a fraction (`3:2`, but not the
integer 2 for `4:2`), and in an answer, not in a gold answer, `5-3` is 2.
"""

import math
import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from sparkcli.method.answers import IN_TEXT
from sparkcli.verifiers.base import Finding
from sparkcli.verifiers.mathematics.plain import number

_LONGEST = 300
_HINT = re.compile(r":|\.\.|dots(?![a-z])|(?:^|[=({$\s])\d[\d.,%\\]*-[\\$]*\d"
                   r"|/\s*\d+\s*/|\d\.\d+\.\d|\d\s+\d|[A-Z]-?\d"
                   r"|\d\s*'|\bto\b|[MDCLXVI]{2}|[A-Z]-[A-Z]-|[A-F][+-]$|\\(?:long)?(?:to|rightarrow|Rightarrow|implies)(?![a-z])|[-=]>"
                   r"|[A-Za-z]+\.? \d{1,2}|\d(?: ?[AaPp]\.?[Mm]|(?:st|nd|rd|th)? [A-Za-z]"
                   r"|\s*\\(?:text|math|mbox|[,;: ]))"
                   r"|[\u65e5\u70b9\u65f6]", re.ASCII)
"""What every notation here has; most answers have none of it."""
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
_AND = re.compile(r",?\s*(?<![A-Za-z])(?:and|or)(?![A-Za-z])\s*")
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

Same = Callable[[str, str], bool | None]
"""Whether two items are equal; None where that is not known yet."""


class Notation(NamedTuple):
    """A kind of notation, and its items in their order.

    `is_surely`: it is no arithmetic, whatever it is compared with.
    """

    kind: str
    items: tuple[str, ...]
    is_surely: bool = True


def same_notation(gold: str, answer: str, same: Same) -> Finding | None:
    """The verdict where the gold answer, or the answer alone, is a notation; None where both may be computed."""
    if max(len(gold), len(answer)) > _LONGEST or not (_HINT.search(gold) or _HINT.search(answer)):
        return None
    gold_name, expected = _named(gold, is_gold=True)
    name, found = _named(answer, is_gold=expected is not None)
    if expected is None and found is None:
        return _same_lists(gold, answer, same)
    if expected is None or found is None:
        return _against_arithmetic(gold, answer, expected, found)
    if {expected.kind, found.kind} == {"ratio", "number in several parts"}:
        expected, found = (_from_to(side, text) for side, text in ((expected, gold), (found, answer)))
    if expected.kind == "ratio" and found.kind == "time":
        found = _as_ratio(found)
    if expected.kind != found.kind:
        if not (expected.is_surely or found.is_surely):
            return None
        return Finding("wrong", f"a {found.kind}, where a {expected.kind} is expected")
    if gold_name and name and gold_name != name:
        return Finding("wrong", f"different sides: {gold_name[:40]} and {name[:40]}")
    verdict = _COMPARED[expected.kind](expected, found, same)
    if verdict is None or (not verdict and expected.kind == "measure" and not (expected.is_surely or found.is_surely)):
        return None
    return Finding("correct", f"the same {expected.kind}") if verdict else Finding("wrong", f"another {expected.kind}")


def _same_lists(gold: str, answer: str, same: Same) -> Finding | None:
    """The verdict on lists of which an item is a notation: whether each item has its equal on the other side."""
    sides = [[item.strip() for item in _split(_AND.sub(",", _bare(text))) if item.strip()] for text in (gold, answer)]
    kinds = [found.kind for item in sides[0] if (found := _named(item, is_gold=True)[1]) and found.is_surely]
    if not kinds or len(sides[0]) < 2:
        return None
    for item in sides[0]:
        equal = next((other for other in sides[1] if _is_same_item(item, other, same)), None)
        if equal is None:
            return Finding("wrong", f"another list with a {kinds[0]}")
        sides[1].remove(equal)
    return Finding("wrong", "more items") if sides[1] else Finding("correct", f"the same list with a {kinds[0]}")


def _is_same_item(gold: str, answer: str, same: Same) -> bool:
    finding = same_notation(gold, answer, same)
    return finding.status == "correct" if finding else gold == answer or same(gold, answer) is True


def _from_to(side: Notation, text: str) -> Notation:
    """`5 to 3` as a ratio."""
    is_ratio = len(side.items) == 3 and re.search(r"\bto\b", text) is not None
    return Notation("ratio", side.items[:2], is_surely=False) if is_ratio else side


def _against_arithmetic(gold: str, answer: str, expected: Notation | None, found: Notation | None) -> Finding | None:
    """The verdict where only one side is a notation: a ratio of two is a fraction, nothing else is computed."""
    known, other = (expected, answer) if expected else (found, gold)
    assert known is not None
    if not known.is_surely and known.kind == "ratio":
        value = number(_bare(other))
        return Finding("wrong", "a number is no ratio") if value and not re.search(r"frac|/", other) else None
    if not known.is_surely:
        return None
    if known.kind == "list with dots" and found:
        return Finding("wrong", "the answer cannot be read as mathematics", is_unreadable=True)
    return Finding("wrong", f"{'not' if expected else 'only'} a {known.kind}")


def _bare(text: str) -> str:
    """The text without what TeX sets around it."""
    text = IN_TEXT.sub(r"\1", text.strip().removesuffix(".") if not text.endswith("..") else text)
    text = re.sub(r"\\?\$(?=\d)|\\\$", "", text)
    text = re.sub(r"\\colon(?![a-zA-Z])|\\mathbin\s*\{:\}|\{:\}", ":", text)
    text = re.sub(r"(?<=\d)\s+(?:to|through)\s+(?=\d)", "-", text)
    text = " ".join(_GAP.sub(" ", re.sub(r"\^\{?\s*(?:\\prime|')\s*\}?", "'", text)).split())
    return text[1:-1].strip() if re.fullmatch(r"\{[^{}]*\}", text) else text


@lru_cache(maxsize=8192)
def _named(text: str, is_gold: bool) -> tuple[str, Notation | None]:
    """A notation and what it is said to be equal to: `a:b:c = 1:2:3`."""
    text = _bare(text)
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
    return _named(text, is_gold=True)[1] if len(text) <= _LONGEST else None


def _dotted(text: str) -> Notation | None:
    """Items of a list with dots; of sums with dots the whole is one item."""
    inner = re.fullmatch(r"(\\\{|[(\[{])(.*)(\\\}|[)\]}])", text)
    items = [item.strip() for item in _split(inner[2] if inner else text)]
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


def _split(text: str) -> list[str]:
    """The text at its commas and semicolons outside of brackets."""
    items, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character in ",;" and depth <= 0:
            items.append(text[start:place])
            start = place + 1
    return [*items, text[start:]]


def _same_items(gold: Notation, answer: Notation, same: Same) -> bool | None:
    return gold.items == answer.items


def _same_date(gold: Notation, answer: Notation, same: Same) -> bool | None:
    """Whether day and month are the same, and the year where the gold answer has one."""
    return gold.items[1:] == answer.items[1:] and gold.items[0] in ("", answer.items[0])


def _same_numbers(gold: Notation, answer: Notation, same: Same) -> bool | None:
    return [item.lstrip("0") for item in gold.items] == [item.lstrip("0") for item in answer.items]


def _same_ratio(gold: Notation, answer: Notation, same: Same) -> bool | None:
    """Whether the items are in proportion."""
    if len(gold.items) != len(answer.items):
        return False
    values = [[number(item) for item in side.items] for side in (gold, answer)]
    numbers = [[each.value for each in side if each] for side in values]
    if len(numbers[0]) == len(numbers[1]) == len(gold.items):
        return _are_proportional(*numbers)
    if len(gold.items) == 2:
        return None
    verdicts = [same(*pair) for pair in zip(gold.items, answer.items, strict=True)]
    if all(verdicts):
        return True
    (first, *rest), (other, *others) = gold.items, answer.items
    crossed = [same(f"({one})({other})", f"({another})({first})") for one, another in zip(rest, others, strict=True)]
    return None if None in crossed else all(crossed)


def _are_proportional(gold: list[Fraction], answer: list[Fraction]) -> bool:
    (first, *rest), (other, *others) = gold, answer
    return bool(first) == bool(other) and all(one * other == another * first
                                              for one, another in zip(rest, others, strict=True))


def _as_ratio(time: Notation) -> Notation:
    """What looks like a time, as a ratio, if it can be one: `10:15` is 2:3, `10:05` is not 2:1."""
    items = tuple(item for item in time.items if item)
    can_be = items[-1].isdigit() and not any(item.startswith("0") for item in items)
    return Notation("ratio", items, is_surely=len(items) > 2) if can_be else time


def _same_time(gold: Notation, answer: Notation, same: Same) -> bool | None:
    """Whether the hands of a clock stand the same, and the halves of the day agree where both are known."""
    def read(side: Notation) -> tuple[int, int, int, str]:
        hour, minute, second, half = side.items
        known = half or ("p" if int(hour) > 12 else "")
        return int(hour) % 12, int(minute), int(second or 0), known
    expected, found = read(gold), read(answer)
    return expected[:3] == found[:3] and ("" in (expected[3], found[3]) or expected[3] == found[3])


def _same_each(gold: Notation, answer: Notation, same: Same) -> bool | None:
    """Whether the items agree one by one."""
    if len(gold.items) != len(answer.items):
        return False
    verdicts = [one == other or same(one, other) for one, other in zip(gold.items, answer.items, strict=True)]
    return False if False in verdicts else None if None in verdicts else True


def _same_dotted(gold: Notation, answer: Notation, same: Same) -> bool | None:
    """Whether the items agree one by one; a list of numbers in equal steps may show more of them."""
    (brackets, *expected), (others, *found) = gold.items, answer.items
    if brackets != others and "" not in (brackets, others):
        return False
    if len(expected) != len(found):
        expected, found = _shortest(expected), _shortest(found)
    if len(expected) != len(found):
        return False
    verdicts = [True if one == other else False if "..." in one + other and "..." in (one, other) else same(one, other)
                for one, other in zip(expected, found, strict=True)]
    return False if False in verdicts else None if None in verdicts else True


def _shortest(items: list[str]) -> list[str]:
    """The first two of the numbers before the dots, if all of them are in equal steps."""
    before = items[:items.index("...")] if "..." in items else []
    values = [number(item) for item in before]
    numbers = [value.value for value in values if value]
    steps = {one - other for one, other in zip(numbers[1:], numbers, strict=False)}
    return items if len(numbers) < len(before) or len(steps) != 1 else [*items[:2], *items[len(before):]]


_COMPARED: dict[str, Callable[[Notation, Notation, Same], bool | None]] = {
    "list with dots": _same_dotted, "time": _same_time, "date": _same_date, "ratio": _same_ratio,
    "measure": _same_items, "number in several parts": _same_numbers, "sequence of numbers": _same_numbers,
    "label": _same_items, "chain": _same_each}
