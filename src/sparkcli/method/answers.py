r"""What a completion gives as its final answer.

A box counts wherever it stands, and the last one wins, with those that belong to the same answer (`boxes`). Without a
box these are read, the first that is there:

    <answer>x</answer>                       the last such pair of tags
    #### x                                   the last such line, if x is a number or nothing follows
    the answer is x, **Answer:** x, 答案是 x   at the end; a reason or a polite sentence may follow
    the answer is x                          as the first line, if what follows only explains it

What was thought is no answer (`thoughts`). All else is no answer, not a guess.
"""

import re
from collections.abc import Iterator
from operator import itemgetter
from typing import NamedTuple

from sparkcli.method import statements
from sparkcli.method.boxes import answer_in_boxes
from sparkcli.method.thoughts import reply

_HASHES = re.compile(r"####[ \t]*([^#\s].*)")
_FIGURES = re.compile(r"[-+$€£\u2212]{0,2}\d[\d,./]*[ \t]*%?")
_GAP = re.compile(r"\s+|\\(?:left|right)(?![a-zA-Z])|\\[,;:!]|[$~]|\\ ")
_SPACE = re.compile(r"(?<![A-Za-z0-9.]) | (?![A-Za-z0-9.])")
_DFRAC = re.compile(r"\\[dtc]frac(?![a-zA-Z])")
IN_TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|textnormal|mathrm|mathbf|mathit|mbox|operatorname)"
                     r"\s*\{([^{}\\$]*)\}")
"""Words that TeX sets as words."""


def boxed(text: str) -> str | None:
    r"""Content of the last `\boxed{…}` (or `\fbox{…}`) whose braces balance; None without one.

    Escaped braces are text. A box that is cut off or empty is no box, nor is one in a thought. Of nested boxes the
    inner one counts. Several that are one answer are given as one: see `boxes`.

    >>> boxed(r"first \boxed{1}, then \boxed{\frac{3}{4}}, then cut off: \boxed{5")
    '\\frac{3}{4}'
    >>> boxed(r"$x = \boxed{1}$ and $y = \boxed{2}$")
    '1, 2'
    """
    return answer_in_boxes(reply(text)) if "box" in text else None


def without_text_commands(text: str) -> str:
    r"""A text with the words of its `\text{…}` as they are.

    >>> without_text_commands(r"5 \text{ cm}")
    '5  cm'
    """
    return IN_TEXT.sub(itemgetter(1), text) if "\\" in text else text


class Reading(NamedTuple):
    """An answer as it was read from a completion, and in words where it stood.

    `is_whole`: it is not an answer in the completion but the completion itself, which no record needs twice.
    """

    text: str
    how: str
    is_whole: bool = False


def final_answer(completion: str) -> str | None:
    r"""The answer a completion commits to, without what is wrapped around it; None if it gives none.

    >>> [final_answer(text) for text in (r"So it is \boxed{12}.", "#### 7", "The answer is $x^2$.")]
    ['12', '7', 'x^2']
    >>> final_answer("I am not sure; 7 could be the answer") is None
    True
    """
    reading = read_answer(completion)
    return reading.text if reading else None


def read_answer(completion: str) -> Reading | None:
    """As `final_answer`, with where it stood."""
    text = reply(completion)
    if content := answer_in_boxes(text):
        return Reading(content, "the last box")
    return next(stated_answers(text), None)


def stated_answers(text: str) -> Iterator[Reading]:
    """What a text states as its answer by other means than a box, each of them that is there."""
    ways = ((_tagged, "the last `<answer>` tags"), (_hashed, "the last line of `#### answer`"),
            (statements.closing, "`answer is` at the end"), (statements.opening, "`answer is` in the first line"))
    for read, how in ways:
        if (answer := read(text)) is not None:
            yield Reading(answer, how)


def spelling(answer: str) -> str:
    r"""An answer without what matters in no notation: spaces, `$`, `\left`, sizes of fractions, `\text` around it.

    No mathematics: 0.5 and 1/2 stay apart. Spaces between digits and letters stay as well, since `3 1/2` is not `31/2`
    and `\sin x` not `\sinx`.

    >>> spelling(r"$\left( \dfrac{1}{2},\; 3 \right)$"), spelling(r"3 1/2"), spelling(r"\text{ no }")
    ('(\\frac{1}{2},3)', '3 1/2', 'no')
    """
    text = _DFRAC.sub(r"\\frac", _GAP.sub(" ", answer.replace("{,}", ","))).strip()
    if words := IN_TEXT.fullmatch(text):
        text = words[1].strip()
    return _SPACE.sub("", " ".join(text.split())) or answer


def _tagged(text: str) -> str | None:
    """`<answer>x</answer>`; of a statement between the tags, what it states."""
    close = text.rfind("</answer>")
    tag = text.rfind("<answer>", 0, close) if close >= 0 else -1
    if tag < 0:
        return None
    content = text[tag + len("<answer>"):close].strip()
    return statements.closing(content) or statements.unwrapped(content)


def _hashed(text: str) -> str | None:
    """`#### x`; a line of other text than figures may be a heading, and must be the last."""
    at = 0 if text.startswith("####") else -1
    at = max(at, text.rfind("\n####") + 1 or -1)
    match = _HASHES.match(text, at) if at >= 0 else None
    if match is None or not (_FIGURES.fullmatch(match[1].strip()) or match.end() == len(text)):
        return None
    return statements.unwrapped(match[1])
