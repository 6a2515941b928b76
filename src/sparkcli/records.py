"""Every record that flows between the stages; the only place a field is named.

A record is one JSON object on one line. Stages only add fields: what a stage does not know is kept in `extra` and
written out again unchanged. Reading validates; a wrong line is reported as `place: field: expected …, found …`.

    Prompt  ── rollout ──▶  Rollout  ── verify ──▶  Scored
                              │ judge ▶ Judged        reflect ▶ Reflected
"""

import contextlib
import dataclasses
import functools
import hashlib
import operator
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

import orjson

from sparkcli.errors import InputError, nearest
from sparkcli.fields import doc, fields_of, kind_of, object_schema, read_fields, to_plain
from sparkcli.json_values import Json, to_bytes

Task = Literal["solve", "judge", "compare", "reflect"]
FinishReason = Literal["stop", "length", "error"]
NoJudgement = Literal["not_sampled", "no_answer", "nothing_to_compare", "not_asked", "unreadable"]
Status = Literal["correct", "wrong", "no_answer", "timeout", "error", "gold_unparseable"]

IMAGE_PARTS = ("image", "image_url")
"""Types of message parts that are images."""
IMAGE_SOURCES = ("image", "url", "path")
"""Under which an `image` part may hold the image itself."""
TENSORS = re.compile(r"(.+\.safetensors)#(\d+):(\d+),(\d+):(\d+)")
"""`FILE#PROMPT_START:PROMPT_END,START:END`, what `Rollout.tensors` says."""
MEASURED = frozenset({"prompt_token_ids", "token_ids", "logprobs", "sampling", "reward", "terms", "judgement"})
"""Fields that stages measure: their numbers are floats or ids, and what they are read as is not looked at twice."""
STATUSES_WITH_REWARD: Mapping[str, float] = types.MappingProxyType({"correct": 1.0, "wrong": 0.0, "no_answer": 0.0})
"""What a verdict is worth. A status that is not here says nothing about the answer: its reward is null."""


def _read_images(value: Json, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InputError(f"{where}: expected a list, found {kind_of(value)}")
    for i, image in enumerate(value):
        if not isinstance(image, str):
            raise InputError(f"{where}[{i}]: expected a string, found {kind_of(image)}")
    return tuple(value)


def _read_messages(value: Json, where: str) -> str | list[dict[str, Json]]:
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        raise InputError(f"{where}: expected a string or a list of chat messages, found {kind_of(value)}")
    for i, message in enumerate(value):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise InputError(f"{where}[{i}]: expected a message with `role` and `content`, found {kind_of(message)}")
        content = message.get("content")
        if content is None and message.get("tool_calls"):
            continue
        parts = content if isinstance(content, list) else []
        if not isinstance(content, str | list) or not all(isinstance(p, dict) and "type" in p for p in parts):
            raise InputError(f"{where}[{i}].content: expected a string or a list of parts, found {kind_of(content)}")
        for k, part in enumerate(parts):
            text = part.get("text")
            if part["type"] == "text" and not isinstance(text, str):
                raise InputError(f"{where}[{i}].content[{k}].text: expected a string, found {kind_of(text)}")
    return value


def _read_tools(value: Json, where: str) -> tuple[dict[str, Json], ...]:
    """A list of JSON schemas."""
    value = _from_table(value)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in value):
        raise InputError(f"{where}: expected a list of tools, each a JSON schema, found {kind_of(value)}")
    return tuple(value)


def _read_variables(value: Json, where: str) -> dict[str, Json] | None:
    value = _from_table(value)
    if value is not None and not isinstance(value, dict):
        raise InputError(f"{where}: expected an object, found {kind_of(value)}")
    return value or None


def _from_table(value: Json) -> Json:
    """A value without what tables do to it, whose rows are all of one schema: it may be there as JSON text, or have
    nulls for the keys of other rows."""
    if isinstance(value, str):
        with contextlib.suppress(orjson.JSONDecodeError):  # then it is text, and told as such
            value = orjson.loads(value)
    if isinstance(value, dict):
        return {key: _from_table(item) if not isinstance(item, str) else item
                for key, item in value.items() if item is not None}
    return [_from_table(item) if not isinstance(item, str) else item for item in value] if isinstance(
        value, list) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One sample that a recycled prompt was made from."""

    id: str = doc("id of the prompt it was sampled for")
    sample: int = doc("number of the sample in its group")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a model is asked. Written by `prepare` and `recycle`; read by `rollout`, `reflect`, `bench`."""

    id: str = doc("unique; made from the content's hash where missing")
    prompt: str | list[dict[str, Json]] = doc("the user's text, or chat messages in the OpenAI form",
                                              read=_read_messages)
    question: str | None = doc("the bare question, where `prompt` wraps it in instructions; what recycling quotes",
                               default=None)
    answer: str | None = doc("gold answer; absent: nothing to verify against", default=None)
    verifier: str | dict[str, Json] | None = doc("verifier by name, or name and options; absent: `verify` decides",
                                                 default=None)
    task: Task = doc("what kind of prompt this is", default="solve")
    images: tuple[str, ...] = doc("paths (relative to the file), URLs or data URIs; null, as tables have it: none",
                                  default=(), read=_read_images)
    tools: tuple[dict[str, Json], ...] = doc("what the model may call, as JSON schemas (a list, or its JSON text), for "
                                             "the chat template", default=(), read=_read_tools)
    chat_template_kwargs: dict[str, Json] | None = doc("variables of the chat template, over those of the settings, "
                                                       "e.g. enable_thinking", default=None, read=_read_variables)
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
    completion: str = doc("text, without the end-of-sequence marker; where the prompt ends with a message of the "
                          "assistant, which is continued, from that message on")
    finish_reason: FinishReason | None = doc("why it ended: `stop`, by itself; `length`, at the limit; `error`: "
                                             "nothing was sampled, `error` says why; absent where others sampled and "
                                             "did not say", default=None)
    prompt_token_ids: tuple[int, ...] | None = doc("what the sampler read", default=None)
    token_ids: tuple[int, ...] | None = doc("what the sampler emitted, end-of-sequence included", default=None)
    logprobs: tuple[float, ...] | None = doc("log-probability of each emitted token under the sampling distribution",
                                             default=None)
    tensors: str | None = doc("`FILE.safetensors#KEY`, where the three arrays live in a side file", default=None)
    sampling: Sampling | None = doc("how it was drawn", default=None)
    policy: str | None = doc("fingerprint of the model and adapter that drew it", default=None)
    in_thought: bool = doc("it begins within a thought, which the chat template has opened", default=False)
    error: str | None = doc("why there is no sample, where `finish_reason` is `error`", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a verifier found."""

    status: Status = doc("`correct`, `wrong` and `no_answer` are statements about the answer; the others are not")
    extracted: str | None = doc("the answer that was read from the completion", default=None)
    verifier: str = doc("which verifier spoke")
    reason: str | None = doc("one line on why, where the status needs one", default=None)
    is_unreadable: bool = doc("`wrong`, since the answer is in a notation that the verifier does not know",
                              default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored(Rollout):
    """A verified rollout. Written by `verify`; read by `recycle` and `train-step`."""

    verdict: Verdict = doc("what the verifier found")
    reward: float | None = doc("null: the verdict is no statement about the answer; takes no part in training")
    terms: dict[str, float] | None = doc("what the reward is the sum of: `outcome` and the shaping terms; absent "
                                         "where it is the outcome alone", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The model's own verdict on an answer."""

    mode: Literal["pointwise", "pairwise"] = doc("how it was asked")
    status: Literal["ok", "no_verdict"] = doc("`no_verdict`: no vote could be read; never counted as wrong")
    reason: NoJudgement | None = doc(
        "why there is no verdict: `not_sampled`: no completion to judge; `no_answer`: it has no final answer; "
        "`nothing_to_compare`: no other answer in the group; `not_asked`: no question could be sampled; "
        "`unreadable`: no vote could be read", default=None)
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
    finish_reason: FinishReason | None = doc("why it ended, as of a rollout", default=None)


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
    content += [prompt[name] for name in ("tools", "chat_template_kwargs") if prompt.get(name)]
    return hashlib.sha256(to_bytes(content, orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def from_json(cls: type[R], value: Json, place: str) -> R:
    """Builds a record from a decoded JSON object; `place` (file:line) opens every error.

    Raises:
        InputError: a field is missing or has another type than the record's.
    """
    if not isinstance(value, dict):
        raise InputError(f"{place}: expected a JSON object, found {kind_of(value)}")
    if "id" not in value and "prompt" in value:
        value = {"id": content_id(value), **value}
    fields, extra = read_fields(cls, value, f"{place}: ")
    try:
        return cls(**fields, extra=extra)
    except TypeError:
        missing = [name for name in fields_of(cls).required if name not in fields]
        name = next((name for name in missing if name != "id"), "id")  # an id can be made, the rest cannot
        close = nearest(name, extra)
        raise InputError(f"{place}: {name}: expected in a {cls.__name__.lower()} record, missing"
                         f"{close if 'did you mean' in close else ''}") from None


def to_json(record: Prompt) -> dict[str, Json]:
    """The record as a JSON object: known fields in declared order, defaults left out, then what was carried through."""
    plain = to_plain(record)
    plain.update(record.extra)
    return plain


def dumps(record: Prompt) -> bytes:
    """One JSON line, newline included."""
    return to_bytes(to_json(record), orjson.OPT_APPEND_NEWLINE)


def extend(record: Prompt, cls: type[R], **added: Any) -> R:
    """`record` as a `cls` with fields added. A carried field gives way to one of `cls` of the same name."""
    move, known = _move(type(record), cls), fields_of(cls).ways
    extra = {name: item for name, item in record.extra.items() if name not in known} if record.extra else {}
    made = object.__new__(cls)  # slot by slot: a call with twenty keywords to a frozen class takes twice the time
    for put, item in zip(move.puts, move.values(record), strict=True):
        put(made, item)
    for name, item in {**move.rest, "extra": extra, **added}.items():
        if item is dataclasses.MISSING:
            raise TypeError(f"{cls.__name__} needs {name}")
        move.put[name](made, item)
    return made


class _Move(NamedTuple):
    """How one record becomes another: `puts` set in turn what `values` gets, and `rest` are the other defaults."""

    values: Callable[[Any], tuple[Any, ...]]
    puts: tuple[Callable[[Any, Any], None], ...]
    put: dict[str, Callable[[Any, Any], None]]
    rest: dict[str, Any]


def _move_of(source: Any, target: Any) -> _Move:
    put = {f.name: getattr(target, f.name).__set__ for f in dataclasses.fields(target)}
    shared = [name for name in fields_of(source).names if name in put]
    rest = {f.name: f.default for f in dataclasses.fields(target) if f.name not in shared}
    return _Move(operator.attrgetter(*shared), tuple(put[name] for name in shared), put, rest)


_move: Callable[[Any, Any], _Move] = functools.cache(_move_of)  # mypy holds type[R] to be unhashable


class UniqueIds:
    """Gives each prompt of a stream an id of its own: the second with an id gets `-2` behind it, the third `-3`. What
    is drawn for a prompt depends on its id, and samples with one id are one group."""

    def __init__(self) -> None:
        self.renamed = 0
        """Prompts that had the id of an earlier one."""
        self.first: str | None = None
        """The first id that was made so."""
        self._taken: dict[str, int] = {}

    def __call__(self, prompt: R) -> R:
        """The prompt, under an id that no earlier one has."""
        number = self._taken.get(prompt.id, 0) + 1
        name = prompt.id if number == 1 else f"{prompt.id}-{number}"
        while name in self._taken and number > 1:
            number += 1
            name = f"{prompt.id}-{number}"
        self._taken[prompt.id] = number
        if name == prompt.id:
            return prompt
        self._taken[name] = 1
        self.renamed += 1
        self.first = self.first or name
        return dataclasses.replace(prompt, id=name)


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


def token_count(rollout: Rollout) -> int | None:
    """Tokens that were sampled, without a look into a side file; None where the record does not say."""
    if rollout.tensors is None:
        return None if rollout.token_ids is None else len(rollout.token_ids)
    match = TENSORS.fullmatch(rollout.tensors)
    return int(match[5]) - int(match[4]) if match else None


def question_of(prompt: Prompt) -> str:
    """The text of the question: `question`, or the text of the last user message.

    An image that stands within the text is told as `[image 2]`, by its number in the whole prompt: what quotes the
    question shows all images before it.
    """
    if prompt.question is not None:
        return prompt.question
    if isinstance(prompt.prompt, str):
        return prompt.prompt
    users = [i for i, message in enumerate(prompt.prompt) if message["role"] == "user"]
    last = users[-1] if users else len(prompt.prompt) - 1
    earlier = [part for message in prompt.prompt[:last] for part in _parts(message) if part["type"] != "text"]
    return _worded(_parts(prompt.prompt[last]), len(earlier))


def _parts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or []


def _worded(parts: Sequence[Mapping[str, Any]], images: int) -> str:
    """Text parts, a line each, with mentions of their images, of which `images` came before, at their places.

    Images that all stand before the text, or all after it, are not mentioned: whoever quotes it shows them anyway.
    """
    kinds = [part["type"] == "text" for part in parts]
    apart = kinds in (sorted(kinds), sorted(kinds, reverse=True))
    text, mentions, after_text = "", "", False
    for part in parts:
        if part["type"] == "text":
            text += mentions + "\n" * after_text + part["text"]
            mentions = ""
        else:
            images += 1
            mentions += "" if apart else f"[image {images}]"
        after_text = part["type"] == "text"
    return text.rstrip() if apart and not kinds[-1] else text + mentions


def schema(cls: type) -> dict[str, Json]:
    """JSON Schema (2020-12) of a record, from its dataclass."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": cls.__name__, **object_schema(cls)}
