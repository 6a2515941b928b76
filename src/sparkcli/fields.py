"""Typed dataclasses as JSON objects: read with errors that name the place, written without defaults, described.

A reader takes (value, where) and returns the value as the dataclass holds it; every error opens with `where`. What
reading and writing need to know of a class is worked out once: millions of records pass here.
"""

import dataclasses
import functools
import operator
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import field
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from sparkcli.errors import InputError
from sparkcli.json_values import Json

_UNIONS = (types.UnionType, typing.Union)
"""What `X | None` is; the other where X is a Literal."""
Reader = Callable[[Json, str], Any]
_KINDS = {str: "a string", int: "an integer", float: "a number", Decimal: "a number", bool: "true or false",
          type(None): "null", list: "a list", dict: "an object"}


def doc(text: str, read: Reader | None = None, **default: Any) -> Any:
    """A dataclass field with the sentence that schemas and docs print for it.

    `read`: its own reader, where its type says too little.
    """
    return field(metadata={"doc": text, "read": read}, **default)


def kind_of(value: Json) -> str:
    """What a JSON value is, in words, with the value of a number."""
    text = _KINDS[type(value)]
    return f"{text} ({value})" if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else text


def is_required(f: "dataclasses.Field[Any]") -> bool:
    """Whether a field has no default."""
    return f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


class _Way(NamedTuple):
    """How a field's value gets in: one of a type in `as_is` is taken as it stands, any other goes through `read`."""

    as_is: frozenset[type]
    read: Reader


class Fields(NamedTuple):
    """The fields of a dataclass that JSON objects have: in declared order, inherited ones first.

    `defaults` hold MISSING where there is none; `values` gives those of an instance.
    """

    names: tuple[str, ...]
    defaults: tuple[Any, ...]
    required: tuple[str, ...]
    values: Callable[[Any], tuple[Any, ...]]
    ways: dict[str, _Way]


def _fields_of(cls: Any) -> Fields:
    found = [f for f in dataclasses.fields(cls) if f.name != "extra"]
    hints = _hints(cls)
    names = tuple(f.name for f in found)
    values = operator.attrgetter(*names) if len(names) > 1 else lambda value: (getattr(value, names[0]),)
    return Fields(names=names, defaults=tuple(f.default for f in found),
                  required=tuple(f.name for f in found if is_required(f)), values=values,
                  ways={f.name: _way(f.metadata.get("read"), hints[f.name]) for f in found})


fields_of: Callable[[Any], Fields] = functools.cache(_fields_of)  # mypy holds type[T] to be unhashable
"""All that is known of a dataclass, from its annotations and `doc`."""


def _way(own: Reader | None, hint: Any) -> _Way:
    if own is not None:
        return _Way(frozenset(), own)
    members = typing.get_args(hint) if typing.get_origin(hint) in _UNIONS else (hint,)
    kinds = {typing.get_origin(member) or member for member in members}
    return _Way(frozenset(kinds & _KINDS.keys()), _reader(hint))


def read_fields(cls: Any, value: Mapping[str, Json], prefix: str) -> tuple[dict[str, Any], dict[str, Json]]:
    """The fields of `cls` in a JSON object as `cls` holds them, and what else is in it.

    Raises:
        InputError: a field has another type; `prefix` and the field's name open the message.
    """
    ways = fields_of(cls).ways
    known: dict[str, Any] = {}
    unknown: dict[str, Json] = {}
    for name, item in value.items():
        way = ways.get(name)
        if way is None:
            unknown[name] = item
        else:
            known[name] = item if type(item) in way.as_is else way.read(item, prefix + name)
    return known, unknown


def _reader(hint: Any) -> Reader:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return functools.partial(_read_literal, args)
    if origin is tuple:
        return functools.partial(_read_numbers, args[0]) if args[0] in (int, float) else (
            functools.partial(_read_tuple, _reader(args[0])))
    if origin in _UNIONS:
        by_type = {kind: _reader(a) for a in args for kind in _json_types(a)}
        return functools.partial(_read_union, by_type, _describe(hint))
    if dataclasses.is_dataclass(hint):
        return functools.partial(_read_dataclass, hint)
    return functools.partial(_read_plain, origin or hint)


def _json_types(hint: Any) -> tuple[type, ...]:
    """What a value of this type is once decoded from JSON."""
    if dataclasses.is_dataclass(hint):
        return (dict,)
    kind = typing.get_origin(hint) or hint
    return {tuple: (list,), float: (float, int), Literal: (str,)}.get(kind, (kind,))


def _read_plain(kind: type, value: Json, where: str) -> Any:
    if kind is float and type(value) is int:
        return _as_float(value, where)
    if type(value) is not kind and not (kind is types.NoneType and value is None):
        raise InputError(f"{where}: expected {_KINDS[kind]}, found {kind_of(value)}")
    return value


def _read_literal(allowed: tuple[str, ...], value: Json, where: str) -> Any:
    if value not in allowed:
        raise InputError(f"{where}: expected one of {', '.join(allowed)}, found {value!r}")
    return value


def _read_numbers(kind: type, value: Json, where: str) -> tuple[Any, ...]:
    kinds = set(map(type, value)) if isinstance(value, list) else {type(value)}
    if not isinstance(value, list) or not kinds <= {kind, int}:
        raise InputError(f"{where}: expected a list of {kind.__name__}s, found "
                         f"{kind_of(value) if not isinstance(value, list) else 'other items in the list'}")
    return tuple(value) if kind is int or int not in kinds else tuple(_as_float(entry, where) for entry in value)


def _as_float(value: float, where: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise InputError(f"{where}: expected a number that floats can hold, found an integer beyond them") from None


def _read_tuple(item: Reader, value: Json, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise InputError(f"{where}: expected a list, found {kind_of(value)}")
    return tuple(item(entry, f"{where}[{i}]") for i, entry in enumerate(value))


def _read_union(readers: Mapping[type, Reader], expected: str, value: Json, where: str) -> Any:
    """Reads with the member whose JSON type this is, so that an error inside a list or object names its place."""
    reader = readers.get(type(value))
    if reader is None:
        raise InputError(f"{where}: expected {expected}, found {kind_of(value)}")
    return reader(value, where)


def _read_dataclass(cls: Any, value: Json, where: str) -> Any:
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected an object, found {kind_of(value)}")
    fields, _ = read_fields(cls, value, f"{where}.")
    missing = [name for name in fields_of(cls).required if name not in fields]
    if missing:
        raise InputError(f"{where}.{missing[0]}: expected, missing")
    return cls(**fields)


def to_plain(value: Any) -> dict[str, Json]:
    """A dataclass as JSON values; fields at their default are left out."""
    fields = fields_of(type(value))
    out: dict[str, Json] = {}
    for name, default, item in zip(fields.names, fields.defaults, fields.values(value), strict=True):
        if item is not default and (default is dataclasses.MISSING or item != default):
            out[name] = item if type(item) in _KINDS else _plain(item)
    return out


def _plain(item: Any) -> Json:
    if isinstance(item, tuple):
        return [to_plain(entry) for entry in item] if item and dataclasses.is_dataclass(item[0]) else list(item)
    return to_plain(item) if dataclasses.is_dataclass(item) else item


def _describe(hint: Any) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS:
        return " or ".join(_describe(a) for a in args)
    if origin is Literal:
        return f"one of {', '.join(args)}"
    if origin is tuple:
        return f"a list of {args[0].__name__}s"
    return _KINDS.get(origin or hint, getattr(hint, "__name__", str(hint)))


def object_schema(cls: type) -> dict[str, Json]:
    """JSON Schema of a dataclass whose fields were made with `doc`."""
    fields = [f for f in dataclasses.fields(cls) if f.name != "extra"]
    properties = {f.name: {**_type_schema(_hints(cls)[f.name]), "description": f.metadata["doc"]} for f in fields}
    required = [f.name for f in fields if is_required(f) and f.name != "id"]
    return {"type": "object", "description": (cls.__doc__ or "").split("\n")[0], "properties": properties,
            "required": required, "additionalProperties": "extra" in {f.name for f in dataclasses.fields(cls)}}


def _type_schema(hint: Any) -> dict[str, Json]:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return {"enum": list(args)}
    if origin in _UNIONS:
        return {"anyOf": [_type_schema(a) for a in args]}
    if origin in (tuple, list):
        return {"type": "array", "items": _type_schema(args[0])}
    if dataclasses.is_dataclass(hint):
        return object_schema(typing.cast(type, hint))
    names = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null", dict: "object"}
    return {"type": names[origin or hint]} if (origin or hint) in names else {}
