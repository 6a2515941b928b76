r"""Mathematical equality, as math-verify sees it, but for what it gets wrong.

The answer is read by `method.answers`. Gold answer and answer are put into the characters of TeX (`characters`). Equal
spelling, plain numbers and words are settled here and now (`plain`), and so are notations that are no arithmetic
(`notation`, `notation_equality`), sentences (`prose`), and common LaTeX by its values (`arithmetic`). The rest goes to
a worker: it is rewritten where math-verify misreads it (`rewriting`, with `letters` and `separators`), computed where
it is common LaTeX now; or else parsed by math-verify's grammar and compared (`symbolic`), the gold answer first: the
comparison is not symmetric. What would take for ever is refused (`limits`).

Differences from math-verify 0.9 in a box, all on purpose; math_pairs.jsonl and math_notation_pairs.jsonl of the tests
have pairs for each:

* no guess: an answer is read as a whole or not at all, where math-verify takes the last number that it finds (7 in
  `-2 \\le x \\le 7`); what cannot be read is wrong, and counted apart;
* words are words: `no` is not `on`, `Yes` is `yes`, `A, C` is `C, A`; a gold answer that is a sentence equals the same
  words and nothing that is computed;
* a value is the same however it is written: `8` is `1(8)`, `x` is `x+0`;
* variables are no units: `3t` is not 3, `m g h` not `m`; and different units are different: `5 kg`, `5 g`; measures in
  several units are added up: `1 h 30 min` is `90 min`, and no number;
* a style of letters is only a style: `2+3\mathrm{i}` is complex, `\mathrm{x}` is x, `\hat{\mathbf{i}}` is `\mathbf{i}`;
  primes, hats and arrows are part of a name; d is a variable but in derivatives and integrals, `\gamma` no function;
* `M` and `m` in one expression are two variables, and so are `\Sigma` and `\sigma`;
* `i` is the imaginary unit, unless it counts something or stands beside j as a unit vector;
* commas: `0,125` is a decimal and `n = 12,000` a number; within brackets, commas without spaces separate, unless the
  next group begins with 0; `3{,}5` is 3.5; `2,5` is 2.5 where the gold answer is a decimal, and else two numbers;
* notation that is no arithmetic is compared with its like: ratios of three, times, dates, ranges, scores, versions,
  numbers in several parts, lists with dots, chains, Roman numerals; a ratio of two equals a fraction, but no integer;
* wide characters, digits of any script, HTML entities, `或`, `\text{ou}`, `5元`, `5万`, `]1,2[`; texts escaped twice;
* equations of one variable, or apart by more than spaces, are a list, whatever is between them: `x=1 vagy x=-2`;
* rows of matrices may be followed by a command (`\\\frac{1}{2}`), and the last may end with `\\`;
* a number with a percent sign equals the same without it and its hundredth, decimal or not: `12.5\%`, `12.5`, `0.125`;
* tiny decimals are compared by significant digits, not by places: `1.24e-8` is not `2.24e-8`;
* numerals of two bases are compared by value; `12_5` is not `12_7`; `0x1F` is 31;
* read at all: `3 1/2`, `4.5e33`, `10\,000`, `0.\overline{3}`, `0.333\ldots`, `½`, `√2`, `x²`, `sin(x)`, `2pi`,
  `**73**`, `5.`, `€5`, `1.5 \text{ million}`, `40^\circ 30'`, `\frac ab`, `\frac{1\pm\sqrt{5}}{2}`, `\sin 30^\circ`,
  `\log_e`, `\lg`, `\langle 1,2\rangle`, `\varnothing`, cases, systems, set builders, moduli;
* inequalities are equal if their solutions are, to one another and to a gold interval that cannot be a point: `2x>6`
  and `x>3`, `[3,\infty)` and `x\ge 3`, but not `(1,2)` and `1<x<2`; `and` is not `or` between them;
* expressions that agree wherever both are real are equal: `\ln\frac{a}{b}` and `\ln a-\ln b`, `\ln|x|` and `\ln x`.

Bare equations, which math-verify without a box reads as 0, are in a box here.
"""

import contextlib
import json
import logging
from collections.abc import Callable, Iterator

from sparkcli.method.answers import Reading, boxed
from sparkcli.method.statements import closing
from sparkcli.verifiers.base import Finding, Options, Verifier
from sparkcli.verifiers.mathematics.arithmetic import by_kind, by_value
from sparkcli.verifiers.mathematics.characters import plain
from sparkcli.verifiers.mathematics.limits import parses_too_long, too_long
from sparkcli.verifiers.mathematics.notation import notation_of
from sparkcli.verifiers.mathematics.notation_equality import same_notation
from sparkcli.verifiers.mathematics.plain import same_text, settled
from sparkcli.verifiers.mathematics.prose import is_prose, same_prose
from sparkcli.verifiers.reading import READING, short_answer
from sparkcli.verifiers.reading import validate as validate_reading

_WARMING = (
    ("x^2 - 1", "(x - 1)(x + 1)"), (r"\sqrt{2}", r"\frac{2}{\sqrt{2}}"), ("(1, 2)", "[1, 2)"), ("x > 3", "2x > 6"),
    ("x = 3, y = 4", r"x = 3 \text{ or } x = 4"), (r"f(x) = \frac{x + 1}{2}", r"(-\infty, 2) \cup [3, \infty)"),
    (r"2\pi r^2 + \sin(a_1) - e^{-2 t}", r"\log_2 (n) \cdot \cos \theta + n!"),
    (r"\{1, \frac{1}{2}\}", r"1 \pm \sqrt[3]{5}"),
    (r"\begin{pmatrix} 1 & x \\ 2 & -3 \end{pmatrix}", r"|x - 1| \le 4"))
"""Notations whose first parse takes longest."""


def read(gold: str, completion: str, options: Options) -> Reading | None:
    """The final answer, without Markdown emphasis, and without `Answer:` before it."""
    reading = short_answer(completion, options["reading"])
    if reading is not None and ("nswer" in reading.text or "\u7b54\u6848" in reading.text):
        reading = reading._replace(text=closing(reading.text) or reading.text)
    if reading is None or "**" not in reading.text:
        return reading
    text = reading.text.removeprefix("**").removesuffix("**").strip()
    return reading._replace(text=text) if text else None


def quick(gold: str, answer: str, options: Options) -> Finding | None:
    """The verdict on what needs no algebra, and on what is refused; None where it takes a worker."""
    gold, answer = plain(_unboxed(gold)), plain(answer)
    if not gold:
        return Finding("gold_unparseable", "the gold answer is empty")
    return (settled(gold, answer) or by_kind(gold, answer) or same_notation(gold, answer, _settled_item)
            or same_prose(gold, answer) or by_value(gold, answer) or _refused(gold, answer, too_long))


def check(gold: str, answer: str, options: Options) -> Finding:
    """The verdict by algebra. Can take for ever; raises whatever sympy raises."""
    from sparkcli.verifiers.mathematics.symbolic import compare

    gold, answer = plain(_unboxed(gold)), plain(answer)
    known = same_text(gold, answer) or _refused(gold, answer, too_long) or _refused(gold, answer, parses_too_long)
    try:
        return (known or same_notation(gold, answer, _computed_item) or same_prose(gold, answer)
                or compare(gold, answer))
    except RecursionError:
        return Finding("error", "nested too deeply to be read as mathematics")


def understood(text: str) -> dict[str, str]:
    r"""How a gold answer or an answer is understood, step by step, for people: for `verify --explain`.

    Parses in this process, what is not refused; may raise what sympy raises.

    >>> understood("n = 12,000"), understood("4:2:1")["read as"], understood("forty two")["read as"]
    ({'rewritten': 'n = 12000', 'read as': 'Eq(n, 12000)'}, 'ratio: 4, 2, 1', 'words')
    """
    from sparkcli.verifiers.mathematics.symbolic import reading_of

    text = plain(_unboxed(text))
    if (known := notation_of(text)) is not None:
        return {"rewritten": text, "read as": f"{known.kind}: {', '.join(known.items)}"}
    if is_prose(text):
        return {"rewritten": text, "read as": "words"}
    if refusal := too_long(text) or parses_too_long(text):
        return {"rewritten": text, "read as": f"nothing: {refusal}"}
    return dict(zip(("rewritten", "read as"), reading_of(text), strict=True))


def _unboxed(gold: str) -> str:
    """A gold answer without its box; of a JSON list of texts, its items."""
    if gold.startswith('["'):
        with contextlib.suppress(ValueError):
            return ", ".join(map(str, json.loads(gold)))
    return boxed(gold) or gold if "box" in gold else gold


def _settled_item(gold: str, answer: str) -> bool | None:
    """Whether two items of a notation are equal, if that takes no algebra."""
    finding = settled(gold, answer)
    return finding.status == "correct" if finding else None


def _computed_item(gold: str, answer: str) -> bool | None:
    """Whether two items of a notation are equal; None where they cannot be compared."""
    from sparkcli.verifiers.mathematics.symbolic import compare

    finding = settled(gold, answer) or compare(gold, answer)
    return None if finding.reward is None else finding.status == "correct"


def _refused(gold: str, answer: str, why: Callable[[str], str | None]) -> Finding | None:
    """An error that says nothing about the answer, where there is a reason."""
    for side, text in (("the gold answer", gold), ("the answer", answer)):
        if reason := why(text):
            return Finding("error", f"{side}: {reason}")
    return None


def notes(gold: str, answer: str, options: Options) -> Iterator[str]:
    """Both sides as they were rewritten and as they were read."""
    for side, text in (("gold", gold), ("answer", answer)):
        for step, result in understood(text).items():
            yield f"{step:<12}{side}: {result}"


def warm() -> None:
    """Imports, and what sympy and the grammar do only once: the first `simplify` takes most of a second."""
    from sparkcli.verifiers.mathematics.symbolic import by_algebra

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its timers are off
    for gold, answer in _WARMING:
        by_algebra(gold, answer)


VERIFIER = Verifier(name="math", read=read, check=check, options={"reading": READING}, validate=validate_reading,
                    isolated=True, quick=quick, warm=warm, notes=notes)
