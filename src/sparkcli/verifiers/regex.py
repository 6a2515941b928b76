"""A regular expression (Python's `re`) that the final answer, or all that was said, has to match.

The pattern is the option `pattern`, or else the record's gold answer. `where` it is looked for: in the final `answer`;
in the `completion` without what was thought; or in `everything`, as for the tags of a thought. By default the whole of
the final answer must match, or something somewhere in a completion; `full` sets it. Flags stand in the pattern:
`(?im)…`.
"""

import re
import warnings
from typing import Any

from sparkcli.errors import nearest
from sparkcli.method.answers import Reading
from sparkcli.verifiers.base import Finding, Options, Verifier, whole
from sparkcli.verifiers.reading import short_answer
from sparkcli.verifiers.wording import quoted

_PLACES = ("answer", "completion", "everything")


def validate(options: Options) -> None:
    """Refuses a pattern that cannot be compiled, and unknown places."""
    if options["where"] not in _PLACES:
        raise ValueError(f"where: unknown {options['where']!r}{nearest(options['where'], _PLACES)}")
    if options["full"] not in (True, False, None):
        raise ValueError(f"full: expected true, false or null, found {options['full']!r}")
    try:
        _compiled(options["pattern"], options)
    except ValueError as error:
        raise ValueError(f"pattern: {error}") from None


def read(gold: str, completion: str, options: Options) -> Reading | None:
    """The final answer, or everything."""
    return short_answer(completion) if options["where"] == "answer" else whole(gold, completion, options)


def check(gold: str, answer: str, options: Options) -> Finding:
    """Matches. A pattern of the options goes before the gold answer."""
    source = options["pattern"] or gold
    if not source:
        return Finding("error", "no pattern: neither the option `pattern` nor a gold answer")
    try:
        pattern = _compiled(source, options)
    except ValueError as error:
        return Finding("gold_unparseable", f"the gold answer is no regular expression: {error}")
    is_full = options["where"] == "answer" if options["full"] is None else options["full"]
    if pattern.fullmatch(answer) if is_full else pattern.search(answer):
        return Finding("correct", f"matches {quoted(source)}")
    return Finding("wrong", f"does not {'match' if is_full else 'contain'} {quoted(source)}")


def _compiled(source: str, options: Options) -> re.Pattern[str]:
    """Raises a ValueError that says where the pattern goes wrong."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what a future `re` may read differently
            return re.compile(source, re.IGNORECASE if options["ignore_case"] else 0)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{quoted(source)}: {error}") from None


_DEFAULTS: dict[str, Any] = {"pattern": "", "where": "answer", "full": None, "ignore_case": False}

VERIFIER = Verifier(name="regex", read=read, check=check, options=_DEFAULTS, validate=validate, needs_gold=False,
                    isolated=True, sees_thoughts=lambda options: bool(options["where"] == "everything"))
