"""Every record that flows between the stages; the only place a field is named.

A record is one JSON object on one line. Stages only add fields: what a stage does not know is kept in `extra` and
written out again unchanged. Reading validates; a wrong line is reported as `place: field: expected …, found …`.

    Prompt  ── rollout ──▶  Rollout  ── verify ──▶  Scored
                              │ judge ▶ Judged        reflect ▶ Reflected
"""

import dataclasses
import functools
import hashlib
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import orjson

from sparkcli.errors import InputError, nearest

Json = Any
Task = Literal["solve", "judge", "compare", "reflect"]
FinishReason = Literal["stop", "length", "error"]
Status = Literal["correct", "wrong", "no_answer", "timeout", "error", "gold_unparseable"]

STATUSES_WITH_REWARD: Mapping[str, float] = types.MappingProxyType({"correct": 1.0, "wrong": 0.0, "no_answer": 0.0})
"""What a verdict is worth. A status that is not here says nothing about the answer: its reward is null."""


def doc(text: str, **default: Any) -> Any:
    """A dataclass field with the sentence that schemas and docs print for it."""
    return field(metadata={"doc": text}, **default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One sample that a recycled prompt was made from."""

    id: str = doc("id of the prompt it was sampled for")
    sample: int = doc("number of the sample in its group")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a model is asked. Written by `prepare` and `recycle`; read by `rollout`, `reflect`, `bench`."""

    id: str = doc("unique; made from the content's hash where missing")
    prompt: str | list[dict[str, Json]] = doc("the user's text, or chat messages in the OpenAI form")
    question: str | None = doc("the bare question, where `prompt` wraps it in instructions; what recycling quotes",
                               default=None)
    answer: str | None = doc("gold answer; absent: nothing to verify against", default=None)
    verifier: str | dict[str, Json] | None = doc("verifier by name, or name and options; absent: `verify` decides",
                                                 default=None)
    task: Task = doc("what kind of prompt this is", default="solve")
    images: tuple[str, ...] = doc("paths (relative to the file), URLs or data URIs", default=())
    source: tuple[Source, ...] = doc("recycled prompts: the samples they were made from", default=())
    extra: dict[str, Json] = field(default_factory=dict, metadata={"doc": None})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a completion was drawn."""

    temperature: float = doc("0 is greedy")
    top_p: float = doc("share of probability mass that was kept")
    top_k: int = doc("number of tokens kept; 0: all")
    seed: int = doc("seed of the draw; each sample's own stream is derived from it, the prompt's id and the number")
    max_tokens: int = doc("limit of new tokens")
    engine: str = doc("engine and its version, e.g. transformers/5.23.0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout(Prompt):
    """One sample for one prompt. Written by `rollout`; the samples of a prompt stand next to each other."""

    sample: int = doc("number of this sample in its group, from 0")
    samples: int = doc("size of the group")
    completion: str = doc("text, without the end-of-sequence marker")
    finish_reason: FinishReason = doc("why it ended; `error`: nothing was sampled, `error` says why", default="stop")
    prompt_token_ids: tuple[int, ...] | None = doc("what the sampler read", default=None)
    token_ids: tuple[int, ...] | None = doc("what the sampler emitted, end-of-sequence included", default=None)
    logprobs: tuple[float, ...] | None = doc("log-probability of each emitted token under the sampling distribution",
                                             default=None)
    tensors: str | None = doc("`FILE.safetensors#KEY`, where the three arrays live in a side file", default=None)
    sampling: Sampling | None = doc("how it was drawn", default=None)
    policy: str | None = doc("fingerprint of the model and adapter that drew it", default=None)
    error: str | None = doc("why there is no sample, where `finish_reason` is `error`", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a verifier found."""

    status: Status = doc("`correct`, `wrong` and `no_answer` are statements about the answer; the others are not")
    extracted: str | None = doc("the answer that was read from the completion", default=None)
    verifier: str = doc("which verifier spoke")
    reason: str | None = doc("one line on why, where the status needs one", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored(Rollout):
    """A verified rollout. Written by `verify`; read by `recycle` and `train-step`."""

    verdict: Verdict = doc("what the verifier found")
    reward: float | None = doc("null: the verdict is no statement about the answer; takes no part in training")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The model's own verdict on an answer."""

    mode: Literal["pointwise", "pairwise"] = doc("how it was asked")
    status: Literal["ok", "no_verdict"] = doc("`no_verdict`: no vote could be read; never counted as wrong")
    score: float | None = doc("share of votes for this answer, 0 to 1; null without a verdict")
    label: str | None = doc("pointwise: Yes or No", default=None)
    votes: int = doc("votes that could be read")
    asked: int = doc("votes that were asked for")
    critique: str | None = doc("text of the first vote that could be read", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged(Rollout):
    """A rollout with the model's own judgement. Written by `judge`."""

    judgement: Judgement = doc("the model's verdict on this completion")


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One step of test-time self-reflection."""

    kind: Literal["answer", "judge", "reflect"] = doc("what the model was asked for")
    completion: str = doc("what it said")
    extracted: str | None = doc("final answer or label read from it", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reflected(Rollout):
    """The selected answer after self-reflection, as a rollout. Written by `reflect`; `verify` reads it."""

    trace: tuple[Turn, ...] = doc("every turn, first to last")
    rounds: int = doc("reflection rounds that were used")


RECORDS: Mapping[str, type] = types.MappingProxyType(
    {"prompt": Prompt, "rollout": Rollout, "scored": Scored, "judged": Judged, "reflected": Reflected}
)

R = TypeVar("R", bound=Prompt)
G = TypeVar("G", bound=Rollout)


def content_id(prompt: Mapping[str, Json]) -> str:
    """An id from what the model will see and be checked against: equal content, equal id."""
    content = [prompt.get(name) for name in ("prompt", "answer", "images", "task")]
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def from_json(cls: type[R], value: Json, place: str) -> R:
    """Builds a record from a decoded JSON object; `place` (file:line) opens every error.

    Raises:
        InputError: a field is missing or has another type than the record's.
    """
    if not isinstance(value, dict):
        raise InputError(f"{place}: expected a JSON object, found {_kind(value)}")
    if "id" not in value and "prompt" in value:
        value = {"id": content_id(value), **value}
    known: dict[str, Reader] = _readers(typing.cast(type, cls))  # mypy holds type[R] to be unhashable
    fields = {name: reader(value[name], f"{place}: {name}") for name, reader in known.items() if name in value}
    extra = {name: item for name, item in value.items() if name not in known}
    try:
        return cls(**fields, extra=extra)
    except TypeError:
        missing = [f.name for f in dataclasses.fields(cls) if _required(f) and f.name not in fields]
        name = next((name for name in missing if name != "id"), "id")  # an id can be made, the rest cannot
        close = nearest(name, extra)
        raise InputError(f"{place}: {name}: expected in a {cls.__name__.lower()} record, missing"
                         f"{close if 'did you mean' in close else ''}") from None


def to_json(record: Prompt) -> dict[str, Json]:
    """The record as a JSON object: known fields in declared order, defaults left out, then what was carried through."""
    return {**_plain(record), **record.extra}


def dumps(record: Prompt) -> bytes:
    """One JSON line, newline included."""
    return orjson.dumps(to_json(record), option=orjson.OPT_APPEND_NEWLINE)


def extend(record: Prompt, cls: type[R], **added: Any) -> R:
    """`record` as a `cls` with fields added. A carried field gives way to one of `cls` of the same name."""
    names = {f.name for f in dataclasses.fields(cls)}
    kept = {f.name: getattr(record, f.name) for f in dataclasses.fields(record) if f.name in names}
    extra = {name: item for name, item in record.extra.items() if name not in names}
    return cls(**{**kept, "extra": extra, **added})


def groups(rollouts: Iterable[G]) -> Iterator[list[G]]:
    """Neighbours with the same prompt id, as lists; streams.

    Raises:
        InputError: a prompt's samples do not stand next to each other.
    """
    seen: set[str] = set()
    group: list[G] = []
    for rollout in rollouts:
        if group and rollout.id != group[0].id:
            yield group
            group = []
        if not group:
            if rollout.id in seen:
                raise InputError(f"prompt {rollout.id!r}: its samples do not stand together; sort by id first")
            seen.add(rollout.id)
        group.append(rollout)
    if group:
        yield group


def question_of(prompt: Prompt) -> str:
    """The text of the question: `question`, or the text of the last user message."""
    if prompt.question is not None:
        return prompt.question
    if isinstance(prompt.prompt, str):
        return prompt.prompt
    last = next((m for m in reversed(prompt.prompt) if m["role"] == "user"), prompt.prompt[-1])
    content = last["content"]
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part.get("type") == "text")


def schema(cls: type) -> dict[str, Json]:
    """JSON Schema (2020-12) of a record, from its dataclass."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": cls.__name__, **_object_schema(cls)}


# How types are read, and described. A reader takes (value, where) and returns the value as the dataclass holds it.

Reader = Callable[[Json, str], Any]
_KINDS = {str: "a string", int: "an integer", float: "a number", bool: "true or false", type(None): "null",
          list: "a list", dict: "an object"}


def _kind(value: Json) -> str:
    text = _KINDS[type(value)]
    return f"{text} ({value!r})" if isinstance(value, int | float) and not isinstance(value, bool) else text


def _required(f: "dataclasses.Field[Any]") -> bool:
    return f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


@functools.cache
def _readers(cls: Any) -> dict[str, Reader]:
    """A reader per field, in declared order (inherited fields first, as dataclasses order them)."""
    own = {f.name: _hints(cls)[f.name] for f in dataclasses.fields(cls) if f.name != "extra"}
    readers = {name: _reader(hint) for name, hint in own.items()}
    if "prompt" in readers:
        readers["prompt"] = _read_prompt
    return readers


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
        raise InputError(f"{where}: expected {_KINDS[kind]}, found {_kind(value)}")
    return value


def _read_literal(allowed: tuple[str, ...], value: Json, where: str) -> Any:
    if value not in allowed:
        raise InputError(f"{where}: expected one of {', '.join(allowed)}, found {value!r}")
    return value


def _read_numbers(kind: type, value: Json, where: str) -> tuple[Any, ...]:
    kinds = set(map(type, value)) if isinstance(value, list) else {type(value)}
    if not isinstance(value, list) or not kinds <= {kind, int}:
        raise InputError(f"{where}: expected a list of {kind.__name__}s, found "
                         f"{_kind(value) if not isinstance(value, list) else 'other items in the list'}")
    return tuple(value) if kind is int or int not in kinds else tuple(map(float, value))


def _read_tuple(item: Reader, value: Json, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise InputError(f"{where}: expected a list, found {_kind(value)}")
    return tuple(item(entry, f"{where}[{i}]") for i, entry in enumerate(value))


def _read_union(readers: Mapping[type, Reader], expected: str, value: Json, where: str) -> Any:
    """Reads with the member whose JSON type this is, so that an error inside a list or object names its place."""
    reader = readers.get(type(value))
    if reader is None:
        raise InputError(f"{where}: expected {expected}, found {_kind(value)}")
    return reader(value, where)


def _read_dataclass(cls: Any, value: Json, where: str) -> Any:
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected an object, found {_kind(value)}")
    readers = _readers(cls)
    fields = {name: reader(value[name], f"{where}.{name}") for name, reader in readers.items() if name in value}
    missing = [f.name for f in dataclasses.fields(cls) if _required(f) and f.name not in fields]
    if missing:
        raise InputError(f"{where}.{missing[0]}: expected, missing")
    return cls(**fields)


def _read_prompt(value: Json, where: str) -> str | list[dict[str, Json]]:
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        raise InputError(f"{where}: expected a string or a list of chat messages, found {_kind(value)}")
    for i, message in enumerate(value):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise InputError(f"{where}[{i}]: expected a message with `role` and `content`, found {_kind(message)}")
        content = message.get("content")
        parts = content if isinstance(content, list) else []
        if not isinstance(content, str | list) or not all(isinstance(p, dict) and "type" in p for p in parts):
            raise InputError(f"{where}[{i}].content: expected a string or a list of parts, found {_kind(content)}")
    return value


def _plain(value: Any) -> dict[str, Json]:
    """A dataclass as JSON values; fields at their default are left out."""
    out: dict[str, Json] = {}
    for f in dataclasses.fields(value):
        item = getattr(value, f.name)
        if f.name == "extra" or (not _required(f) and item == f.default):
            continue
        if dataclasses.is_dataclass(item):
            item = _plain(item)
        elif isinstance(item, tuple) and item and dataclasses.is_dataclass(item[0]):
            item = [_plain(entry) for entry in item]
        out[f.name] = item
    return out


def _describe(hint: Any) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return " or ".join(_describe(a) for a in args)
    if origin is tuple:
        return f"a list of {args[0].__name__}s"
    return _KINDS.get(origin or hint, getattr(hint, "__name__", str(hint)))


def _object_schema(cls: type) -> dict[str, Json]:
    fields = [f for f in dataclasses.fields(cls) if f.name != "extra"]
    properties = {f.name: {**_type_schema(_hints(cls)[f.name]), "description": f.metadata["doc"]} for f in fields}
    required = [f.name for f in fields if _required(f) and f.name != "id"]
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
        return _object_schema(typing.cast(type, hint))
    names = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null", dict: "object"}
    return {"type": names[origin or hint]} if (origin or hint) in names else {}


