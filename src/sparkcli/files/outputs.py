"""Stored outputs of any model as rollouts: lines that need no more than a completion.

What a rollout has beside it is filled in: `prompt` is empty, `id` is the prompt's where there is one and else
`line-N`, and neighbours with the same id are counted off as the samples of a group. `id` and `answer` may be numbers.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from sparkcli.errors import InputError
from sparkcli.files.jsonl import decode, lines, of_lines
from sparkcli.json_values import number_text
from sparkcli.records import R, content_id

Line = tuple[str, Any]
"""`file:line` and the JSON value there."""


def read_outputs(path: str, cls: type[R]) -> Iterator[R]:
    """The rollouts of a file, one at a time; one without `sample` waits for the end of its group.

    Raises:
        InputError: a line has no completion, or a field of another type; or there is no line at all.
    """
    return of_lines(_numbered(path), path, cls)


def _numbered(path: str) -> Iterator[Line]:
    group: list[Line] = []
    try:
        for place, line in lines(path):
            value = _identified(line, place)
            is_numbered = not isinstance(value, dict) or "sample" in value or "completion" not in value
            if group and (is_numbered or value["id"] != group[0][1]["id"]):
                yield from _counted_off(group)
                group = []
            if is_numbered:
                yield place, value
            else:
                group.append((place, value))
    except InputError:
        yield from _counted_off(group)  # what came before the broken line
        raise
    yield from _counted_off(group)


def _identified(line: bytes, place: str) -> Any:
    value = decode(line, place)
    if isinstance(value, dict) and isinstance(value.get("answer"), float):
        value = decode(line, place, foreign=True)  # a gold answer keeps all of its digits
    if not isinstance(value, dict) or "completion" not in value:
        return value
    for name in ("id", "answer"):
        if type(value.get(name)) in (int, float, Decimal):
            value = {**value, name: number_text(value[name])}
    if "id" not in value:
        id = content_id(value) if "prompt" in value else f"line-{place.rpartition(':')[2]}"
        value = {"id": id, **value}
    return value if "prompt" in value else {"prompt": "", **value}


def _counted_off(group: Sequence[Line]) -> Iterator[Line]:
    for sample, (place, value) in enumerate(group):
        yield place, {"samples": len(group), **value, "sample": sample}
