"""Functions of the user's own as verifiers: `--verifier module:function`, or a record's `verifier` field.

The module is imported as Python would from the current folder. In `checks.py`, for `--verifier checks:close_enough` or
`{"name": "checks:close_enough", "tolerance": 0.5}`:

    def close_enough(completion: str, answer: str, *, tolerance: float = 0.1) -> bool:
        return abs(float(completion.split()[-1]) - float(answer)) <= tolerance

It runs in a worker process, under the limits on time and memory; what it raises is an `error`, never `wrong`.
"""

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any, Protocol

from sparkcli.verifiers.base import Finding, Options, Verifier, whole


class VerifierFunction(Protocol):
    """What the user writes; its first parameters have these names, further ones are options with a default each.

    `completion` is all that the model wrote, what it thought included, `answer` the record's gold answer ("" without
    one). It returns True or False; or a reward from 0 to 1; or None where it cannot tell; or a `Finding` with a reason
    of its own.
    """

    def __call__(self, completion: str, answer: str, *args: Any, **kwargs: Any) -> bool | float | Finding | None:
        """The verdict."""


def load(name: str) -> Verifier:
    """The function `module:function` as a verifier.

    Raises:
        ValueError: it cannot be imported, or does not take `completion` and `answer`.
    """
    function = _function(name)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    if [p.name for p in parameters[:2]] != ["completion", "answer"]:
        raise ValueError("expected a function of (completion, answer, …)")
    bare = [p.name for p in parameters[2:] if p.default is p.empty]
    if bare:
        raise ValueError(f"its option {bare[0]!r} has no default")

    def check(gold: str, answer: str, options: Options) -> Finding:
        return finding(function(answer, gold, **options))

    return Verifier(name=name, read=whole, check=check, options={p.name: p.default for p in parameters[2:]},
                    needs_gold=False, isolated=True, sees_thoughts=lambda options: True)


def finding(outcome: bool | float | Finding | None) -> Finding:
    """What a function of the user's own returned, as a finding.

    Raises:
        TypeError: it is none of what a verifier may return.
        ValueError: a reward outside 0 to 1.
    """
    if isinstance(outcome, Finding):
        return outcome
    if outcome is None:
        return Finding("error", "the verifier cannot tell")
    if isinstance(outcome, bool):
        return Finding("correct" if outcome else "wrong", f"the verifier returned {outcome}")
    if not isinstance(outcome, int | float):
        raise TypeError(f"the verifier returned {outcome!r}; expected true, false, a reward from 0 to 1, or None")
    if not 0 <= outcome <= 1:
        raise ValueError(f"the verifier returned {outcome!r}; rewards are from 0 to 1")
    return Finding("correct" if outcome == 1 else "wrong", f"the verifier returned {outcome:g}", float(outcome))


def _function(name: str) -> Callable[..., Any]:
    module_name, _, function_name = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # workers inherit it; console scripts do not have it
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except Exception as error:  # noqa: BLE001 - somebody else's module may raise anything while it is imported
        raise ValueError(f"cannot be imported: {type(error).__name__}: {error}") from None
    if not callable(function):
        raise ValueError("is not a function")
    return function  # type: ignore[no-any-return]
