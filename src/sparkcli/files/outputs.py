"""Stored outputs of any model as rollouts: lines that need no more than a completion.

What a rollout has beside it is filled in: `prompt` is empty, `id` is the prompt's where there is one and else
`line-N`, and neighbours with the same id are the samples of a group: counted off where they have no `sample`, and as
many as there are, or as their numbers say, where they have no `samples`. `id` and `answer` may be numbers, and `answer`
a list, which becomes JSON.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from sparkcli.errors import InputError
from sparkcli.fields import kind_of
from sparkcli.files.jsonl import Skip, decode, lines, of_lines
from sparkcli.json_values import number_text, to_bytes
from sparkcli.records import R, content_id

Line = tuple[str, Any]
"""`file:line` and the JSON value there, or what is wrong with it."""
_NAMES_ELSEWHERE = (
    "response", "responses", "output", "outputs", "generation", "generations", "generated_text", "generated", "text",
    "texts", "prediction", "predictions", "pred", "model_output", "model_response", "model_answer", "model_completion",
    "completions", "llm_output", "reply", "content", "result", "resps", "filtered_resps", "choices", "message",
    "messages", "solution", "code", "sample_text", "candidate", "candidates", "answer")
"""What others call a completion, the likeliest first."""


def read_outputs(path: str, cls: type[R], skip: Skip | None = None) -> Iterator[R]:
    """The rollouts of a file, one at a time; one without `sample` or `samples` waits for the end of its group.

    With `skip` lines that are none are left out, as long as there are others, and it is handed their errors.

    Raises:
        InputError: a line has no completion, or a field of another type; or there is no line at all.
    """
    return of_lines(_numbered(path), path, cls, skip)


def _numbered(path: str) -> Iterator[Line]:
    group: list[Line] = []
    try:
        for place, line in lines(path):
            value = _identified(line, place)
            is_whole = not isinstance(value, dict) or ("sample" in value and "samples" in value)
            if group and (is_whole or _group(value) != _group(group[0][1])):
                yield from _counted_off(group)
                group = []
            if is_whole:
                yield place, value
            else:
                group.append((place, value))
    except InputError:
        yield from _counted_off(group)  # what came before the file broke
        raise
    yield from _counted_off(group)


def _identified(line: bytes, place: str) -> Any:
    """The value of a line, with an id; or the error that it is."""
    try:
        value = decode(line, place)
        if isinstance(value, dict) and isinstance(value.get("answer"), float | list):
            value = decode(line, place, foreign=True)  # a gold answer keeps all of its digits
        if not isinstance(value, dict):
            raise InputError(f"{place}: expected a JSON object, found {kind_of(value)}")
        _check_completion(value, place)
    except InputError as error:
        return error
    for name in ("id", "answer"):
        if type(value.get(name)) in (int, float, Decimal):
            value = {**value, name: number_text(value[name])}
    if isinstance(value.get("answer"), list):
        texts = [number_text(item) if type(item) in (int, float, Decimal) else item for item in value["answer"]]
        value = {**value, "answer": to_bytes(texts).decode()}  # numbers as texts: [1,2] is an interval to others
    if "id" not in value:
        id = content_id(value) if "prompt" in value else f"line-{place.rpartition(':')[2]}"
        value = {"id": id, **value}
    return value if "prompt" in value else {"prompt": "", **value}


def _check_completion(value: Mapping[str, Any], place: str) -> None:
    if "completion" not in value:
        likely = next((name for name in _NAMES_ELSEWHERE if value.get(name)), None)
        hint = "" if likely is None else f"; rename {likely!r}, if that is what the model said"
        if likely == "answer":
            hint = "; 'answer' is the gold answer here: if it is what the model said, rename it"
        raise InputError(f"{place}: completion: expected in a rollout record, missing{hint}")


def _group(value: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the lines of a group have in common: the id, and which of their numbers they have."""
    return value["id"], "sample" in value, value.get("samples")


def _counted_off(group: Sequence[Line]) -> Iterator[Line]:
    numbers = [value["sample"] for _, value in group if type(value.get("sample")) is int]
    samples = max([len(group), *(number + 1 for number in numbers)])  # of a group, some may have been left out
    for sample, (place, value) in enumerate(group):
        yield place, {"sample": sample, "samples": samples, **value}
