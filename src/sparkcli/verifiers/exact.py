"""The same text, but for white space, the way accents are encoded and, if asked for, case.

Besides what `method.answers` reads, a completion of one short line may be nothing but the answer.
"""

import unicodedata

from sparkcli.method import statements
from sparkcli.method.answers import Reading
from sparkcli.verifiers.base import Finding, Options, Verifier
from sparkcli.verifiers.reading import short_answer

_LONGEST_ALONE = 80


def read(gold: str, completion: str, options: Options) -> Reading | None:
    """The final answer; else all of a short line, with its full stop only where that makes it the gold answer."""
    text = completion.strip()
    is_line = 0 < len(text) <= _LONGEST_ALONE and "\n" not in text
    if is_line and _words(text, options) == _words(gold, options):
        return Reading(text, "all of the completion")
    alone = statements.unwrapped(text) if is_line else None
    return short_answer(completion) or (Reading(alone, "all of the completion") if alone else None)


def check(gold: str, answer: str, options: Options) -> Finding:
    """Compares word by word, so that line breaks and double spaces do not matter."""
    expected, found = _words(gold, options), _words(answer, options)
    if not expected:
        return Finding("gold_unparseable", "the gold answer is empty")
    return Finding("correct", "equal text") if expected == found else Finding("wrong", "different text")


def _words(text: str, options: Options) -> list[str]:
    text = unicodedata.normalize("NFC", text)
    return (text.casefold() if options["ignore_case"] else text).split()


VERIFIER = Verifier(name="exact", read=read, check=check, options={"ignore_case": False})
