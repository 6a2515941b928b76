"""Typed dataclasses as JSON objects: read with errors that name the place, written without defaults, described.

A reader takes (value, where) and returns the value as the dataclass holds it; every error opens with `where`.
"""

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, Literal

from sparkcli.errors import InputError

Json = Any
Reader = Callable[[Json, str], Any]
_KINDS = {str: "a string", int: "an integer", float: "a number", bool: "true or false", type(None): "null",
          list: "a list", dict: "an object"}


def doc(text: str, read: Reader | None = None, **default: Any) -> Any:
    """A dataclass field with the sentence that schemas and docs print for it.

    `read`: its own reader, where its type says too little.
    """
    return field(metadata={"doc": text, "read": read}, **default)


def kind_of(value: Json) -> str:
    """What a JSON value is, in words, with the value of a number."""
    text = _KINDS[type(value)]
    return f"{text} ({value!r})" if isinstance(value, int | float) and not isinstance(value, bool) else text


def is_required(f: "dataclasses.Field[Any]") -> bool:
    """Whether a field has no default."""
    return f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


@functools.cache
def readers_of(cls: Any) -> dict[str, Reader]:
    """A reader per field, in declared order (inherited fields first, as dataclasses order them)."""
    return {f.name: f.metadata.get("read") or _reader(_hints(cls)[f.name])
            for f in dataclasses.fields(cls) if f.name != "extra"}


def _reader(hint: Any) -> Reader:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return functools.partial(_read_literal, args)
    if origin is tuple:
        return functools.partial(_read_numbers, args[0]) if args[0] in (int, float) else (
            functools.partial(_read_tuple, _reader(args[0])))
    if origin is types.UnionType:
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
        return float(value)
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
    return tuple(value) if kind is int or int not in kinds else tuple(map(float, value))


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
    readers = readers_of(cls)
    fields = {name: reader(value[name], f"{where}.{name}") for name, reader in readers.items() if name in value}
    missing = [f.name for f in dataclasses.fields(cls) if is_required(f) and f.name not in fields]
    if missing:
        raise InputError(f"{where}.{missing[0]}: expected, missing")
    return cls(**fields)


def to_plain(value: Any) -> dict[str, Json]:
    """A dataclass as JSON values; fields at their default are left out."""
    out: dict[str, Json] = {}
    for f in dataclasses.fields(value):
        item = getattr(value, f.name)
        if f.name == "extra" or (not is_required(f) and item == f.default):
            continue
        if dataclasses.is_dataclass(item):
            item = to_plain(item)
        elif isinstance(item, tuple) and item and dataclasses.is_dataclass(item[0]):
            item = [to_plain(entry) for entry in item]
        out[f.name] = item
    return out


def _describe(hint: Any) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return " or ".join(_describe(a) for a in args)
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
    if origin is types.UnionType:
        return {"anyOf": [_type_schema(a) for a in args]}
    if origin in (tuple, list):
        return {"type": "array", "items": _type_schema(args[0])}
    if dataclasses.is_dataclass(hint):
        return object_schema(typing.cast(type, hint))
    names = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null", dict: "object"}
    return {"type": names[origin or hint]} if (origin or hint) in names else {}
