r"""Equality of notations: item by item, by the rules of each kind.

A gold answer in a notation equals nothing that is computed. Two notations that are also arithmetic keep their value
where nothing else can be meant: a ratio of two is a fraction (`3:2`, but not the integer 2 for `4:2`), and in an
answer, not in a gold answer, `5-3` is 2.
"""

import re
from collections.abc import Callable
from fractions import Fraction

from sparkcli.verifiers.base import Finding
from sparkcli.verifiers.mathematics.notation import LONGEST, Notation, bare, named, split
from sparkcli.verifiers.mathematics.plain import number

_HINT = re.compile(r":|\.\.|dots(?![a-z])|(?:^|[=({$\s])\d[\d.,%\\]*-[\\$]*\d"
                   r"|/\s*\d+\s*/|\d\.\d+\.\d|\d\s+\d|[A-Z]-?\d"
                   r"|\d\s*'|\bto\b|[MDCLXVI]{2}|[A-Z]-[A-Z]-|[A-F][+-]$|\\(?:long)?(?:to|rightarrow|Rightarrow|implies)(?![a-z])|[-=]>"
                   r"|[A-Za-z]+\.? \d{1,2}|\d(?: ?[AaPp]\.?[Mm]|(?:st|nd|rd|th)? [A-Za-z]"
                   r"|\s*\\(?:text|math|mbox|[,;: ]))"
                   r"|[\u65e5\u70b9\u65f6]", re.ASCII)
"""What every notation here has; most answers have none of it."""
_AND = re.compile(r",?\s*(?<![A-Za-z])(?:and|or)(?![A-Za-z])\s*")

Same = Callable[[str, str], bool | None]
"""Whether two items are equal; None where that is not known yet."""


def same_notation(gold: str, answer: str, same: Same) -> Finding | None:
    """The verdict where the gold answer, or the answer alone, is a notation; None where both may be computed."""
    if max(len(gold), len(answer)) > LONGEST or not (_HINT.search(gold) or _HINT.search(answer)):
        return None
    gold_name, expected = named(gold, is_gold=True)
    name, found = named(answer, is_gold=expected is not None)
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
    sides = [[item.strip() for item in split(_AND.sub(",", bare(text))) if item.strip()] for text in (gold, answer)]
    kinds = [found.kind for item in sides[0] if (found := named(item, is_gold=True)[1]) and found.is_surely]
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
        value = number(bare(other))
        return Finding("wrong", "a number is no ratio") if value and not re.search(r"frac|/", other) else None
    if not known.is_surely:
        return None
    if known.kind == "list with dots" and found:
        return Finding("wrong", "the answer cannot be read as mathematics", is_unreadable=True)
    return Finding("wrong", f"{'not' if expected else 'only'} a {known.kind}")


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
