"""Verifiers by name, with their options: what a record's `verifier` or a setting means."""

import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, get_args

import orjson

from sparkcli.errors import InputError, nearest
from sparkcli.json_values import to_bytes
from sparkcli.verifiers.base import Options, Verifier
from sparkcli.verifiers.combine import Combination, Kind

NAMES = ("math", "number", "choice", "label", "exact", "regex", "json", "instruction", "code")
COMBINATIONS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Single:
    """One verifier with every option. `key`: equal for equal verifiers with equal options."""

    verifier: Verifier
    options: Options
    key: bytes

    @property
    def name(self) -> str:
        """As verdicts give it."""
        return self.verifier.name


Chosen = Single | Combination["Chosen"]


@functools.cache
def load(name: str) -> Verifier:
    """The verifier called `name`: one of NAMES, or `module:function`.

    Raises:
        ValueError: the function of the user's own cannot be had, or is no verifier.
    """
    if ":" in name:
        from sparkcli.verifiers import custom

        return custom.load(name)
    verifier: Verifier = importlib.import_module(f"sparkcli.verifiers.{name}").VERIFIER
    return verifier


def parse(text: str) -> Any:
    """A verifier as a setting gives it: a name, or a JSON object with a name and options.

    Raises:
        InputError: it looks like an object and is none.
    """
    if not text.lstrip().startswith("{"):
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InputError(f"--verifier: not JSON: {error.msg} at column {error.pos + 1}") from None


def resolve(spec: str | Mapping[str, Any], place: str) -> Chosen:
    """What a record or a setting names, with all its options. `place` opens every error.

    Raises:
        InputError: no such verifier, no such option of it, or an option that cannot be.
    """
    given = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = given.pop("name", None)
    if name in COMBINATIONS:
        return _combination(name, given, f"{place}: verifier {name}")
    if name not in NAMES and ":" not in str(name):
        known = nearest(str(name), (*NAMES, *COMBINATIONS))
        raise InputError(f"{place}: verifier: unknown name {name!r}{known}")
    try:
        verifier = load(str(name))
    except ValueError as error:
        raise InputError(f"{place}: verifier {name}: {error}") from None
    options = _options(verifier, given, f"{place}: verifier {name}")
    return Single(verifier=verifier, options=options, key=_key(verifier.name, options))


def _combination(name: Kind, given: dict[str, Any], where: str) -> Combination[Chosen]:
    """`{"name": "all", "of": [spec, …]}`, and for `weighted` a `weights` as long."""
    parts = given.pop("of", None)
    if not isinstance(parts, list) or not parts or not all(isinstance(part, str | dict) for part in parts):
        raise InputError(f"{where}: of: expected a list of verifiers, found {parts!r}")
    weights = given.pop("weights", [1.0] * len(parts)) if name == "weighted" else [1.0] * len(parts)
    if given:
        raise InputError(f"{where}: unknown option {next(iter(given))!r}")
    if not isinstance(weights, list) or len(weights) != len(parts) or not all(_is_weight(w) for w in weights):
        raise InputError(f"{where}: weights: expected {len(parts)} positive numbers, found {weights!r}")
    chosen = tuple(resolve(part, f"{where}: of[{i}]") for i, part in enumerate(parts))
    return Combination(kind=name, parts=chosen, weights=tuple(map(float, weights)))


def _is_weight(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def _options(verifier: Verifier, given: dict[str, Any], where: str) -> dict[str, Any]:
    for option, value in given.items():
        if option not in verifier.options:
            raise InputError(f"{where}: unknown option {option!r}{nearest(option, verifier.options)}")
        given[option] = _checked(value, verifier.options[option], f"{where}: {option}")
    options = {**verifier.options, **given}
    try:
        verifier.validate(options)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    return options


def _checked(value: Any, default: Any, where: str) -> Any:
    """`value`, if it is of the default's type; a default of None stands for any type."""
    kind = type(default)
    if kind is float and type(value) in (int, Decimal):
        return float(value)
    if default is not None and type(value) is not kind:
        raise InputError(f"{where}: expected {kind.__name__}, found {value!r}")
    return value


def _key(name: str, options: Options) -> bytes:
    return to_bytes([name, options], orjson.OPT_SORT_KEYS)
