r"""One or several options of a multiple-choice question, named by their letters or by their texts.

    B   (B)   b)   B.   **B**   \text{(B)}   B. 12 cm   (B) \frac{1}{2}   option B   the answer is (B)   （B）
    A, C   A and C   (A), (C)   (A)(C)   AC                 several letters are compared as a set

With `options`, the texts in the order of their letters, an answer or a gold answer may also be such a text: the same
but for case, spacing and TeX, or the same number with the unit left out. It has to be the text of one option only.
Where a bare letter is the text of another option it names neither; as `(B)` or `option B` it is a letter.

What names no option (`12 cm` without `options`, "none of these") or leaves it open ("A or B") is no answer. A box that
is about something else gives way to a statement: `\boxed{5 J} … **Answer: D**`. Besides what `method.answers` reads, a
completion may be nothing but the answer, or have the letter on a line of its own, the first or the last.
`reading`: `stated`; `boxed`, the last box only; or `last`, also the last `answer is (B)` or `(B)` anywhere: a guess.
"""

import re
from collections.abc import Iterator

from sparkcli.method import statements
from sparkcli.method.answers import Reading, boxed, stated_answers
from sparkcli.verifiers import reading as readings
from sparkcli.verifiers.base import Finding, Options, Verifier
from sparkcli.verifiers.reading.options import leaves_open, letters

_MENTION = re.compile(r"\(([A-Z])\)")
_LETTER_LINE = re.compile(r"^[ \t]*(?:[-#>]+[ \t]*)?\**(?:[Oo]ption[ \t]+)?(?:\([A-Z]\)|[A-Z])[.)]?\**[.]?[ \t]*$",
                          re.MULTILINE)
_CHOSEN = re.compile(
    r"(?:\b(?:I|we)(?:'d|'ll| would| will| must| should)? (?:choose|pick|select|go with|answer)"
    r"|\b(?:choose|pick|select) (?:option|answer|choice)|\b(?:leaves|leaving) (?:only |us with )?(?:option |answer )?)"
    r"\s*(?:option |answer |choice )?\**(\([A-J]\)|[A-J]\b)\**[.!]?\s*\Z"
    r"|\u9009(?:\u62e9|\u9879)?(?:[\u662f\u4e3a])?[\uff1a:\s]*\**[\uff08(]?([A-J])[)\uff09]?\**[\u3002.]?\s*\Z")
"""Sentences that choose, at the end of a text."""
_LONGEST_ALONE = 200
_ENDING = 300
_LAST_WINDOW = 2000


def read(gold: str, completion: str, options: Options) -> Reading | None:
    """The options that the final answer names, in alphabetical order."""
    texts = tuple(options["options"])
    for reading in _readings(completion, options["reading"]):
        if named := letters(reading.text, texts):
            return reading._replace(text=named)
        if leaves_open(reading.text):
            return None
    return None


def _readings(completion: str, how_much: str) -> Iterator[Reading]:
    """What may name options, to be tried in turn."""
    content = boxed(completion)
    if content:
        yield Reading(content, "the last box")
    if how_much == "boxed":
        return
    stated = list(stated_answers(completion))
    yield from stated
    if not stated and not content:
        yield from filter(None, [_alone(completion), _chosen(completion)])
    if how_much == "last" and not stated and not content:
        yield from filter(None, [readings.last_statement(completion), _last_mention(completion)])


def _alone(completion: str) -> Reading | None:
    """An answer without a word around it: all of the completion; or a letter on a line of its own, explained by the
    others."""
    text = completion.strip()
    if len(text) < _LONGEST_ALONE and "\n" not in text:
        return Reading(statements.without_reason(text), "all of the completion") if statements.explains(text) else None
    lines = list(_LETTER_LINE.finditer(text))
    if len(lines) != 1:
        return None
    [line] = lines
    if line.start() == 0 and statements.explains(text[line.end():]):
        return Reading(line[0], "the first line")
    return Reading(line[0], "the last line") if line.end() == len(text) else None


def _chosen(completion: str) -> Reading | None:
    chosen = _CHOSEN.search(completion[-_ENDING:])
    return Reading(chosen[1] or chosen[2], "a choice at the end") if chosen else None


def _last_mention(completion: str) -> Reading | None:
    mentions = _MENTION.findall(completion[-_LAST_WINDOW:])
    return Reading(mentions[-1], "the last `(letter)`") if mentions else None


def check(gold: str, answer: str, options: Options) -> Finding:
    """Compares letters; `answer` are letters as `read` gives them."""
    expected = letters(gold, tuple(options["options"]))
    if expected is None:
        return Finding("gold_unparseable", f"the gold answer {gold[:80]!r} does not name an option")
    if expected == answer:
        return Finding("correct", "the same letters" if "," in expected else "the same letter")
    return Finding("wrong", "other letters" if "," in expected else "another letter")


def validate(options: Options) -> None:
    """Options are texts, no more than there are letters."""
    readings.validate(options)
    texts = options["options"]
    if len(texts) > 26 or not all(isinstance(text, str) for text in texts):
        raise ValueError("options: expected at most 26 texts, in the order of their letters")


VERIFIER = Verifier(name="choice", read=read, check=check, validate=validate,
                    options={"options": [], "reading": readings.READING})
