"""Problems about a picture: coloured numbers and bars to read off and to calculate with.

    numbers   two-digit numbers, each in a colour of its own: add and subtract the named ones
    bars      a bar chart: add the heights of the named bars

    train   standard tier: two numbers of four; three bars of four
    test    standard tier, held out
    hard    held out, larger: three numbers of five; bars with a scale

One problem in eight is held out, by a hash of what the picture shows and what is asked of it: neither another wording,
nor another arrangement, nor an exchange of terms carries a problem from one side to the other.
"""

import hashlib
import random
from collections.abc import Callable, Iterator

from sparkcli.builtin.streams import Split, Tier, latex, stream
from sparkcli.builtin.tiny_vision.problem import COLOURS, Family, Problem
from sparkcli.records import Prompt


def draw(tier: Tier, rng: random.Random) -> Problem:
    """One problem of the tier from either side of the hold-out, families equally often."""
    family, make = rng.choice(_FAMILIES)
    while True:
        shown, asked = make(tier, rng)
        problem = Problem(family, shown, asked, rng.getrandbits(32))
        if _partial_sums_are_positive(problem):
            return problem


Terms = tuple[tuple[str, int], ...]


def _partial_sums_are_positive(problem: Problem) -> bool:
    shown, total = dict(problem.shown), 0
    for colour, factor in problem.asked:
        total += factor * shown[colour]
        if total <= 0:
            return False
    return True


def _things(count: int, low: int, high: int, rng: random.Random) -> Terms:
    return tuple((colour, rng.randint(low, high)) for colour in rng.sample(COLOURS, count))


def _some(shown: Terms, count: int, rng: random.Random) -> list[str]:
    return [colour for colour, _ in rng.sample(shown, count)]


def _numbers(tier: Tier, rng: random.Random) -> tuple[Terms, Terms]:
    things, terms = (4, 2) if tier == "standard" else (5, 3)
    shown = _things(things, 11, 99, rng)
    first, *others = _some(shown, terms, rng)
    return shown, ((first, 1), *((colour, rng.choice((1, -1))) for colour in others))


def _bars(tier: Tier, rng: random.Random) -> tuple[Terms, Terms]:
    shown = _things(4, 1, 9, rng)
    if tier == "standard":
        return shown, tuple((colour, 1) for colour in _some(shown, 3, rng))
    scale = rng.randint(3, 9)
    return shown, tuple((colour, scale) for colour in _some(shown, 2, rng))


_FAMILIES: tuple[tuple[Family, Callable[[Tier, random.Random], tuple[Terms, Terms]]], ...] = (
    ("numbers", _numbers),
    ("bars", _bars),
)

WORDINGS = 3


def word(problem: Problem, wording: int) -> str:
    """The question: wording 0 is plain, 1 a question, 2 a word problem."""
    match problem.family:
        case "numbers":
            return _word_numbers(problem.asked, wording)
        case "bars":
            return _word_bars(problem.asked, wording)


def _word_numbers(asked: Terms, wording: int) -> str:
    first, *others = asked
    if wording == 2:
        events = "".join(f", then gets the {colour}" if sign > 0 else f", then loses the {colour}"
                         for colour, sign in others)
        return f"Mia has as many coins as the {first[0]} number says{events}. How many has she now?"
    expression = first[0] + "".join(f"{'+' if sign > 0 else '-'}{colour}" for colour, sign in others)
    return f"Compute {expression} with the numbers shown." if wording == 0 else f"What is {expression} in the picture?"


def _word_bars(asked: Terms, wording: int) -> str:
    names, scale = ", ".join(colour for colour, _ in asked), asked[0][1]
    step = "" if scale == 1 else f" One step of the chart stands for {scale}."
    if wording == 2:
        return f"Put these bars on top of one another: {names}. How high is the pile?{step}"
    return f"Add the bars {names}.{step}" if wording == 0 else f"What do the bars {names} add up to?{step}"


PHRASES = (
    *COLOURS, ", ",
    "Compute ", " with the numbers shown.", "What is ", " in the picture?",
    "Mia has as many coins as the ", " number says", ", then gets the ", ", then loses the ", ". How many has she now?",
    "Add the bars ", "What do the bars ", " add up to?", "Put these bars on top of one another: ",
    ". How high is the pile?", " One step of the chart stands for ",
)  # fmt: skip
"""The fixed words of the questions; each is one token of the built-in model, but for the scale of a chart after a full
stop, which with its space is a token itself."""


def problems(split: Split, seed: int, limit: int) -> Iterator[Prompt]:
    """Up to `limit` different problems of a split, each with its picture as a data URI.

    The same seed gives the same stream, and a shorter stream is the beginning of a longer one.
    Ends early where the split has no more problems (many thousands are always found).
    """
    rng = random.Random(f"tiny-vision/{split}/{seed}")
    for problem in stream(draw, split, rng, limit):
        yield _prompt(problem, split, rng.randrange(WORDINGS))


def _prompt(problem: Problem, split: Split, wording: int) -> Prompt:
    from sparkcli.builtin.tiny_vision.pictures import data_uri, picture

    text = word(problem, wording)
    digest = hashlib.blake2b(repr((text, problem)).encode(), digest_size=6).hexdigest()
    return Prompt(id=f"tiny-vision/{split}/{digest}", prompt=text, answer=latex(problem.value), verifier="math",
                  images=(data_uri(picture(problem)),))
