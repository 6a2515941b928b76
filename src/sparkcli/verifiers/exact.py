"""The same text, but for white space, the way accents are encoded and, if asked for, case.

Besides what `method.answers` reads, a completion may be nothing but the answer: one word or number, or the gold answer.
"""

import unicodedata

from sparkcli.method import statements
from sparkcli.method.answers import Reading
from sparkcli.verifiers.base import Finding, Options, Verifier
from sparkcli.verifiers.reading import short_answer

_LONGEST_WRAPPING = 80


def read(gold: str, completion: str, options: Options) -> Reading | None:
    """The final answer; before it all of a completion that is the gold answer, emphasis and full stop aside."""
    text = completion.strip()
    if len(text) <= len(gold) + _LONGEST_WRAPPING:
        for alone in (text, statements.unwrapped(text)):
            if alone and _words(alone, options) == _words(gold, options):
                return Reading(alone, "all of the completion")
    return short_answer(completion)


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
