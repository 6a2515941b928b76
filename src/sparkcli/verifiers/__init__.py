"""Verifiers by name, and what runs them.

base       what a verifier is                      pool      verdicts for a stream of rollouts
math, exact, choice, number, label   one each      process   a worker process as the parent sees it
summary    counts for people                       worker    the worker process itself
reading    short answers in completions

A verifier is a module of this package with a `VERIFIER`; its name is the module's.
"""

import functools
import importlib
from collections.abc import Mapping
from typing import Any

from sparkcli.errors import InputError, nearest
from sparkcli.verifiers.base import Options, Verifier

NAMES = ("math", "exact", "choice", "number", "label")


@functools.cache
def load(name: str) -> Verifier:
    """The verifier called `name`, one of NAMES."""
    verifier: Verifier = importlib.import_module(f"sparkcli.verifiers.{name}").VERIFIER
    return verifier


def resolve(spec: str | Mapping[str, Any], place: str) -> tuple[Verifier, Options]:
    """The verifier that a record or a setting names, and all its options. `place` opens every error.

    Raises:
        InputError: no such verifier, no such option of it, or an option of another type.
    """
    given = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = given.pop("name", None)
    if name not in NAMES:
        raise InputError(f"{place}: verifier: unknown name {name!r}{nearest(str(name), NAMES)}")
    verifier = load(name)
    for option, value in given.items():
        if option not in verifier.options:
            known = nearest(option, verifier.options)
            raise InputError(f"{place}: verifier {name}: unknown option {option!r}{known}")
        given[option] = _checked(value, verifier.options[option], f"{place}: verifier {name}: {option}")
    return verifier, {**verifier.options, **given}


def _checked(value: Any, default: Any, where: str) -> Any:
    kind = type(default)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise InputError(f"{where}: expected {kind.__name__}, found {value!r}")
    return value
