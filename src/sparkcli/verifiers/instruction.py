r"""Verifiable instruction following in the manner of IFEval (arXiv 2311.07911): lengths, keywords, format, language.

The options have the names of the published rows, so that those work as they are:

    {"name": "instruction", "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
     "kwargs": [{}, {"relation": "at least", "num_words": 300}]}

Null arguments are left out. `instructions/table.py` has every instruction. `correct` is a response that follows them
all; with `partial` the share that is followed is the score. `loose` asks, as IFEval's loose accuracy does, whether any
of eight forms of the response follows: without its first line, its last line or both, each with and without asterisks.
An empty response follows nothing. Where it cannot be told whether an instruction is followed and none is surely
violated, the verdict is `error`.

Meant to differ from the published code: keywords and section marks are text, not regular expressions; arguments are
never drawn by chance; a language that cannot be told is not taken for the right one; capitals are read as well as
small letters when the language is guessed; JSON is strict; `---` and `*so* it begins` are no bullet points; all kinds
of commas count; curly quotation marks are quotation marks; `\r\n` is a line break; of sentences see
`instructions/sentences.py`.
"""

from collections.abc import Iterator
from typing import Any

from sparkcli.verifiers.base import Finding, Options, Verifier, whole
from sparkcli.verifiers.instructions import language, table
from sparkcli.verifiers.instructions.outcome import Outcome
from sparkcli.verifiers.wording import short


def validate(options: Options) -> None:
    """Refuses unknown instructions and arguments that they do not take."""
    names, given = options["instruction_id_list"], options["kwargs"]
    if not names:
        raise ValueError("instruction_id_list: expected at least one instruction")
    if given and len(given) != len(names):
        raise ValueError(f"kwargs: expected {len(names)} objects, one for each instruction, found {len(given)}")
    for i, (name, arguments) in enumerate(_instructions(options)):
        if not isinstance(arguments, dict):
            raise ValueError(f"kwargs[{i}]: expected an object, found {arguments!r}")
        try:
            table.validate(name, _given(arguments))
        except ValueError as error:
            raise ValueError(f"instruction {i + 1}: {error}") from None


def check(gold: str, answer: str, options: Options) -> Finding:
    """Each instruction on the response, or on the loose forms of it."""
    names = [name for name, _ in _instructions(options)]
    if not answer.strip():
        return Finding("wrong", "the response is empty")
    forms = _forms(answer.replace("\r\n", "\n"), loose=options["loose"])
    outcomes = [_outcome(name, _given(arguments), forms) for name, arguments in _instructions(options)]
    return _finding(names, outcomes, partial=options["partial"])


def _finding(names: list[str], outcomes: list[Outcome], *, partial: bool) -> Finding:
    followed = sum(outcome.followed is True for outcome in outcomes)
    share = followed / len(outcomes) if partial else None
    unfollowed = sorted(zip(outcomes, names, strict=True), key=lambda pair: pair[0].followed is None)
    notes = [f"not {name}: {outcome.found}" if outcome.followed is False else f"{name}: {outcome.found}"
             for outcome, name in unfollowed if not outcome.followed]
    reason = short("; ".join([f"{followed} of {len(outcomes)} followed", *notes]))
    is_violated = any(outcome.followed is False for outcome in outcomes)
    is_unknown = any(outcome.followed is None for outcome in outcomes)
    if is_unknown and (partial or not is_violated):
        return Finding("error", reason)
    return Finding("wrong" if is_violated else "correct", reason, share)


def _outcome(name: str, arguments: dict[str, Any], forms: list[str]) -> Outcome:
    """Of the first form that follows the instruction; else of the response as it is, the first of them."""
    outcomes = (table.CHECKS[name](form, **arguments) for form in forms)
    first = next(outcomes)
    return first if first.followed else next((outcome for outcome in outcomes if outcome.followed), first)


def _forms(response: str, *, loose: bool) -> list[str]:
    """The response; if loose, its shortened forms after it. Forms with nothing in them are left out."""
    if not loose:
        return [response]
    lines = response.split("\n")
    cuts = [response, *("\n".join(cut).strip() for cut in (lines[1:], lines[:-1], lines[1:-1]))]
    forms = dict.fromkeys([*cuts, *(cut.replace("*", "") for cut in cuts)])
    return [form for form in forms if form.strip()]


def _instructions(options: Options) -> Iterator[tuple[str, Any]]:
    names = options["instruction_id_list"]
    return zip(names, options["kwargs"] or [{}] * len(names), strict=True)


def _given(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments but for the null ones, which the published rows have for every other instruction."""
    return {name: value for name, value in arguments.items() if value is not None}


_DEFAULTS: dict[str, Any] = {"instruction_id_list": [], "kwargs": [], "loose": False, "partial": False}

VERIFIER = Verifier(name="instruction", read=whole, check=check, options=_DEFAULTS, validate=validate,
                    needs_gold=False, isolated=True, warm=language.warm)
