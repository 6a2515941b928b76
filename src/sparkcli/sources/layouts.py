r"""Layouts: which columns hold the question and the gold answer, and how a row becomes a prompt.

| layout   | question               | gold answer                                                         |
|----------|------------------------|---------------------------------------------------------------------|
| sparkcli | a prompt record        |                                                                     |
| spark    | `message`              | `answer`                                                            |
| verl     | `prompt`               | `reward_model.ground_truth`                                         |
| trl      | `prompt`               | `solution`, `answer` or `ground_truth`                              |
| openrlhf | `input` or `prompt`    | `label` or `answer`                                                 |
| gsm8k    | `question`             | `answer`, after its `####`                                          |
| ifeval   | `prompt`               | none: `instruction_id_list` and `kwargs` become the verifier        |
| question | `question`, `problem`  | `answer`, `final_answer`, `ground_truth`, `gt`, `label`, `solution` |
| chat     | `messages`, or ShareGPT's `conversations` | as `question`, or what the last reply marks as such      |

The assistant's last message in a chat is the reference reply: it is no part of the prompt. Where no column has the gold
answer, it is what the reply marks as final (`####`, a box), or, named by `--map answer=COLUMN`, all of a reply of one
line. The chat is carried whole, as `row_COLUMN`.

Images are taken from the first of `images`, `decoded_image`, `image`, `image_path` and `imagename` that a row has, else
from `image_1`, `image_2` and so on, else from `file_name`, by which `datasets` ties rows to files, where that is an
image's; a row without any has none. `sources/places.py` says where they stand.

A row with a gold answer (also as `answerKey`) and texts as `options`, `choices` or `option` gets the verifier `choice`
with these texts: the answer may be a letter, a label, a text, or a whole number, the place of an option from 0 (its
letter is the answer then). They are written after a question that does not have them yet; chat messages are taken to be
complete.

Other columns are carried. A column whose name has another meaning in our records, or whose content went into
a field only in part, is carried as `row_NAME`.
"""

import dataclasses
import mimetypes
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparkcli.errors import InputError, UsageError, nearest
from sparkcli.json_values import number_text
from sparkcli.records import RECORDS, Prompt, from_json, question_of
from sparkcli.sources.cells import (
    gold_in,
    id_in,
    images_in,
    is_chat,
    is_number,
    json_value,
    marked_gold,
    plain,
    question_in,
    reply_in,
)
from sparkcli.sources.choices import letter_at, letter_of, letters, options_in, with_options
from sparkcli.sources.places import Images, placed
from sparkcli.sources.read import Row

_RESERVED = {f.name for record in RECORDS.values() for f in dataclasses.fields(record)}
_FOR_TEMPLATE = ("tools", "chat_template_kwargs")
_IDS = ("id", "unique_id", "question_id", "problem_id", "uid", "idx")
_IMAGES = ("images", "decoded_image", "image", "image_path", "imagename")
_FILE_NAME = "file_name"
_NUMBERED = re.compile(r"image_?([1-9]\d?)")
_IFEVAL = ("instruction_id_list", "kwargs")
_OPTIONS = ("options", "choices", "option")
_ANSWERS = ("answer", "final_answer", "ground_truth", "gt", "label", "solution", "answerKey")
MAPPED = ("question", "answer", "id", "images")
"""Fields that `--map` can take from a column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The columns that hold each field; `a.b` is column a's entry b. None: rows have no such column.

    `question` is None where the rows are prompt records already. `images` is what the user named, or what the first row
    has: `image_1…` stands for numbered columns. Rows may differ in where they have images, if the user named nothing.
    """

    name: str
    question: str | None = None
    answer: str | None = None
    id: str | None = None
    images: str | None = None
    images_named: bool = False

    def __str__(self) -> str:
        named = {field: getattr(self, field) for field in MAPPED if getattr(self, field)}
        return self.name + "".join(f", {field}={column}" for field, column in named.items())


def detect(row: Row, mapping: Mapping[str, str], place: str) -> Layout:
    """The layout of a file, from its first row and the columns that the user named.

    Raises:
        InputError: no known layout; says what columns there are and how to name them.
        UsageError: the mapping names a field or a column that does not exist.
    """
    _check_mapping(row, mapping)
    if not mapping and _is_record(row):
        return Layout(name="sparkcli")
    found = {} if "question" in mapping else _known_columns(row)
    if not found and "question" not in mapping:
        columns = ", ".join(map(str, row)) or "none"
        raise InputError(f"{place}: unknown layout; columns: {columns}; say which hold question and answer: "
                         f"--map question=COLUMN --map answer=COLUMN")
    usual: dict[str, str | None] = {
        "answer": _first(row, _ANSWERS), "id": _first(row, _IDS), "images": _image_columns(row)}
    name = found.pop("name", None) or "mapped"
    return Layout(name=name, images_named="images" in mapping, **{**usual, **found, **mapping})


def _image_columns(row: Row) -> str | None:
    numbered = [column for column in row if _NUMBERED.fullmatch(column)]
    return _first(row, _IMAGES) or (f"{numbered[0]}…" if numbered else None) or _image_file(row)


def _image_file(row: Row) -> str | None:
    """The column `file_name`, where it names an image."""
    name = row.get(_FILE_NAME)
    kind = mimetypes.guess_type(name)[0] if isinstance(name, str) else None
    return _FILE_NAME if kind and kind.startswith("image/") else None


def _check_mapping(row: Row, mapping: Mapping[str, str]) -> None:
    for field, column in mapping.items():
        if field not in MAPPED:
            raise UsageError(f"--map {field}={column}: unknown field{nearest(field, MAPPED)}")
        if _at(row, column) is _MISSING:
            raise UsageError(f"--map {field}={column}: no such column{nearest(column, map(str, row))}")


def _is_record(row: Row) -> bool:
    """Whether a row already reads as a prompt, with an id, and hides no gold answer or image under another name."""
    if not isinstance(row.get("id"), str) or "prompt" not in row or _image_columns(row) not in (None, "images"):
        return False
    if "answer" not in row and _first(row, (*_ANSWERS, "reward_model")):
        return False
    try:
        from_json(Prompt, _present(row), "")
    except InputError:
        return False
    return True


def _present(row: Row) -> Row:
    """A record without the null fields that tables need: in a record, what is absent is left out."""
    return {name: value for name, value in row.items() if value is not None or name not in _RESERVED}


def _known_columns(row: Row) -> dict[str, str | None]:
    """Name, question and answer columns of the first layout that fits; empty if none does."""
    has = row.keys().__contains__
    if has("message") and has("answer"):
        return {"name": "spark", "question": "message", "answer": "answer"}
    if has("prompt") and all(map(has, _IFEVAL)):
        return {"name": "ifeval", "question": "prompt", "answer": None, "id": _first(row, ("key", *_IDS))}
    if has("prompt") and _at(row, "reward_model.ground_truth") is not _MISSING:
        return {"name": "verl", "question": "prompt", "answer": "reward_model.ground_truth"}
    if has("prompt") and not has("label"):
        answer = _first(row, ("solution", "answer", "ground_truth"))
        return {"name": "trl", "question": "prompt", "answer": answer}
    if has("prompt") or (has("input") and _first(row, ("label", "answer"))):
        return {"name": "openrlhf", "question": _first(row, ("input", "prompt")),
                "answer": _first(row, ("label", "answer"))}
    question = _first(row, ("question", "problem"))
    if question is None and (chat := _first(row, ("messages", "conversations"))):
        return {"name": "chat", "question": chat, "answer": _first(row, _ANSWERS)}
    if question is None:
        return {}
    name = "gsm8k" if "####" in str(row.get("answer")) else "question"
    return {"name": name, "question": question, "answer": _first(row, _ANSWERS)}


def _answer_column(row: Row, layout: Layout) -> str | None:
    """Where a row has its gold answer, by itself: rows of JSON may lack what others have, the first as well."""
    known = _known_columns(row)
    return known["answer"] if known and known["question"] == layout.question else _first(row, _ANSWERS)


def prompt_of(row: Row, layout: Layout, place: str, *, number_prefix: str = "", keep_reply: bool = False,
              tell: Callable[[str], None] = lambda text: None) -> Prompt:
    """One row as a prompt. Its images are as the row has them, bytes as data URIs.

    Args:
        number_prefix: goes before an id that is a bare number, as others have it too.
        keep_reply: whether a chat's last message is a part of the prompt also where it is the assistant's.
        tell: is told what was not taken literally, in a few words without the row.

    Raises:
        InputError: a column of the layout is missing, or holds what cannot be a question, an answer or
        images; images and their places in the question do not match.
    """
    if layout.question is None:
        return _record(row, layout, place, tell, keep_reply=keep_reply)
    if layout.answer is None and (answer := _answer_column(row, layout)):
        tell(f"the gold answer is in {answer}, which the first row lacks")
        layout = dataclasses.replace(layout, answer=answer)
    fields, reply = _fields(row, layout, place, number_prefix, tell, keep_reply=keep_reply)
    return from_json(Prompt, {**_carried(row, layout, fields, tell, is_whole=reply is None), **fields}, place)


def _record(row: Row, layout: Layout, place: str, tell: Callable[[str], None], *, keep_reply: bool) -> Prompt:
    """A row that is a prompt record, perhaps with images under another name as rows of other layouts."""
    record = from_json(Prompt, {"id": "", "prompt": "", "images": row.get("images")}, place)
    images = (_images_of(record.images, is_list=len(record.images) > 1) if record.images
              else _images(row, layout, place))
    others = {name for name in row if name in _IMAGES[1:] or _NUMBERED.fullmatch(name)} if images.by_number else set()
    prompt = from_json(Prompt, {k: v for k, v in _present(row).items() if k not in {"images", *others}}, place)
    chat, reply = (prompt.prompt, None) if keep_reply else _without_reply(prompt.prompt, f"{place}: prompt", tell)
    asked, shown = placed(chat, images, place, tell)
    whole = {} if reply is None else {"row_prompt": prompt.prompt}
    return dataclasses.replace(prompt, prompt=asked, images=tuple(shown), extra={**whole, **prompt.extra})


def _without_reply(asked: Any, where: str, tell: Callable[[str], None]) -> tuple[Any, str | None]:
    """A prompt without the reply that ends it, and the reply's text; None: it ends with none.

    Raises:
        InputError: there is nothing but a reply.
    """
    if not is_chat(asked) or asked[-1]["role"] != "assistant":
        return asked, None
    if all(message["role"] in ("system", "developer", "assistant") for message in asked):
        raise InputError(f"{where}: expected a question, found the assistant's reply alone")
    tell("the assistant's last message is the reference reply and left out of the prompt (--keep-reply keeps it)")
    return asked[:-1], reply_in(asked)


def _fields(row: Row, layout: Layout, place: str, number_prefix: str, tell: Callable[[str], None], *,
            keep_reply: bool) -> tuple[Row, str | None]:
    """The fields of a prompt, and the reply that was left out of it."""
    assert layout.question is not None
    images = _images(row, layout, place)
    options = _options(row, layout)
    fields, reply = _question(row, layout, place, images, options or [], tell, keep_reply=keep_reply)
    if layout.answer is None and reply is not None:
        fields |= {"answer": gold} if (gold := marked_gold(reply)) else {}
    if layout.answer is not None:
        cell = _required(row, layout.answer, place)
        answer = gold_in(cell, f"{place}: {layout.answer}")
        if letter := letter_of(answer, list(map(row.get, _OPTIONS))):
            answer = letter
        elif letter := letter_at(plain(cell), options or []):
            tell("an answer that is a whole number is the place of an option, counted from 0")
            answer = letter
        fields |= {"answer": answer} if answer is not None else {}
    if layout.id is not None:
        name = id_in(_required(row, layout.id, place), f"{place}: {layout.id}", number_prefix)
        fields |= {"id": name} if name else {}
    if layout.name == "ifeval":
        told = {column: _without_nulls(_required(row, column, place)) for column in _IFEVAL}
        fields |= {"verifier": {"name": "instruction", **told}}
    if options and "answer" in fields:
        fields |= {"verifier": {"name": "choice", "options": options}}
    return fields, reply


def _options(row: Row, layout: Layout) -> list[str] | None:
    """The texts of a row's options. Numbers are options beside a letter, or a text that is one of them: an answer that
    is a number too could be the place of an option or its value."""
    answer = _at(row, layout.answer or "")
    for cell in map(row.get, _OPTIONS):
        if texts := options_in(cell):
            return texts
        if isinstance(answer, str) and isinstance(cell, list) and all(map(is_number, cell)):
            numbers = [number_text(entry) for entry in cell]
            if answer.strip() in (*letters(numbers), *numbers):
                return options_in(numbers)
    return None


def _question(row: Row, layout: Layout, place: str, images: Images, options: list[str],
              tell: Callable[[str], None], *, keep_reply: bool) -> tuple[Row, str | None]:
    """`prompt` and `images`, and the reply that was left out. A question may be empty where an image asks it."""
    assert layout.question is not None
    cell = _required(row, layout.question, place)
    asked = "" if images.by_number and cell in ("", None) else question_in(cell, f"{place}: {layout.question}")
    if isinstance(asked, str):
        asked = with_options(asked, options)
    asked, reply = (asked, None) if keep_reply else _without_reply(asked, f"{place}: {layout.question}", tell)
    asked, shown = placed(asked, images, place, tell)
    return {"prompt": asked, "images": shown} if shown else {"prompt": asked}, reply


def _images(row: Row, layout: Layout, place: str) -> Images:
    numbered = {int(match[1]): name for name in row if row[name] and (match := _NUMBERED.fullmatch(name))}
    column = (layout.images if layout.images_named
              else next((name for name in _IMAGES if row.get(name)), None if numbered else _image_file(row)))
    if column is not None:
        cell = _at(row, column)
        images = images_in(None if cell is _MISSING else cell, f"{place}: {column}")
        return _images_of(images, is_list=len(images) > 1 or isinstance(cell, list))
    by_number = {number: images_in(row[name], f"{place}: {name}") for number, name in sorted(numbered.items())}
    return Images({number: found[0] for number, found in by_number.items() if found}, "columns")


def _images_of(images: Sequence[str], *, is_list: bool) -> Images:
    return Images(dict(enumerate(images, 1)), "list" if is_list else "one")


def _without_nulls(cells: Any) -> Any:
    """A list of objects without their null entries, which tables need and nobody reads; all else as it is."""
    if not isinstance(cells, list):
        return cells
    return [{k: v for k, v in cell.items() if v is not None} if isinstance(cell, dict) else cell for cell in cells]


def adorned(prompt: Prompt, instruction: str | None, verifier: str | None) -> Prompt:
    """The prompt with the instruction after a blank line of its last user message, and with the verifier.

    The bare question is kept in `question`.
    """
    if verifier:
        prompt = dataclasses.replace(prompt, verifier=verifier)
    if instruction:
        prompt = dataclasses.replace(prompt, question=question_of(prompt),
                                     prompt=_instructed(prompt.prompt, instruction))
    return prompt


def _instructed(prompt: Any, instruction: str) -> Any:
    if isinstance(prompt, str):
        return f"{prompt}\n\n{instruction}" if prompt else instruction
    users = [i for i, message in enumerate(prompt) if message["role"] == "user"]
    last = users[-1] if users else len(prompt) - 1
    content = prompt[last]["content"]
    extended = (f"{content}\n\n{instruction}" if isinstance(content, str)
                else [*content, {"type": "text", "text": f"\n\n{instruction}"}])
    return [*prompt[:last], {**prompt[last], "content": extended}, *prompt[last + 1:]]


def _carried(row: Row, layout: Layout, fields: Row, tell: Callable[[str], None], *, is_whole: bool) -> Row:
    """The columns that the fields do not tell already, under names that no record field has; without bytes.

    `is_whole`: nothing of a chat was left out of the prompt.
    """
    partly_used = {column.partition(".")[0] for column in (layout.question, layout.answer) if column}
    told = {layout.id, layout.images, *_IMAGES, _image_file(row), *filter(_NUMBERED.fullmatch, map(str, row)),
            *(_IFEVAL if layout.name == "ifeval" else ())}
    kept = [value for value in fields.values() if value is not None]
    if is_whole and isinstance(text := row.get(layout.question or ""), str) and not isinstance(fields["prompt"], str):
        kept.append(text)  # all of it stands in the parts of a message
    carried = {}
    for column, value in row.items():
        if column in told or (column in partly_used and (value is None or value in kept)):
            continue
        if column in _FOR_TEMPLATE and value is None:
            continue
        try:
            plain = json_value(value)
            is_taken = column in _RESERVED and not _is_for_template(column, plain)
            carried[f"row_{column}" if column in partly_used or is_taken else column] = plain
        except TypeError as kind:
            hint = f"; if it has the images: --map images={column}" if str(kind) == "bytes" else ""
            tell(f"column {column} holds {kind} and is left out{hint}")
    return carried


def _is_for_template(column: str, value: Any) -> bool:
    """Whether a column holds what the field of its name gives to a chat template."""
    if column not in _FOR_TEMPLATE:
        return False
    try:
        from_json(Prompt, {"id": "", "prompt": "", column: value}, "")
    except InputError:
        return False
    return True


_MISSING: Any = object()


def _at(row: Row, path: str) -> Any:
    """The cell of a column; of an entry in it where the whole name is no column."""
    if path in row:
        return row[path]
    column, dot, rest = path.partition(".")
    inner = row.get(column)
    return _at(inner, rest) if dot and isinstance(inner, dict) else _MISSING


def _required(row: Row, column: str, place: str) -> Any:
    value = _at(row, column)
    if value is _MISSING:
        close = nearest(column, map(str, row))
        raise InputError(f"{place}: {column}: expected as in the first row, missing{close}")
    return value


def _first(row: Row, columns: tuple[str, ...]) -> str | None:
    return next((column for column in columns if column in row), None)
