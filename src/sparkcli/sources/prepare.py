"""The `prepare` stage: rows of any source → prompts."""

import functools
import itertools
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeVar

from sparkcli.builtin import PREFIX, problems
from sparkcli.config import PrepareConfig
from sparkcli.errors import InputError, UsageError
from sparkcli.records import Prompt, UniqueIds
from sparkcli.sources.gallery import Gallery
from sparkcli.sources.layouts import adorned, detect, prompt_of
from sparkcli.sources.read import is_file, rows

T = TypeVar("T")


def prepare(source: str, config: PrepareConfig, notice: Callable[[str], None] | None = None, *, out: str = "-",
            skipped: Callable[[InputError], None] | None = None) -> Iterator[Prompt]:
    """The prompts of a source. Streams, unless it shuffles; a limit is taken after the shuffle, of rows not skipped.

    A source is a file, `-` (standard input, JSON Lines), a hub dataset (`OWNER/NAME` or `OWNER/NAME:CONFIG`),
    or `builtin:NAME[/SPLIT]`.

    Ids are unique: the row's own, after the file's name where it is a bare number; else a hash of the
    content. The second row with an id gets `-2` after it, the third `-3`.

    Every image is looked at. Paths come out absolute, so that prompts can be used at once; see `Gallery` for those in
    the folder of `config.images`, when prompts are written to the file `out`.

    Args:
        notice: is told the layout that was recognised, and at the end, once, what was not taken literally.
        skipped: is handed the errors of rows that make no prompt, where `config.on_error` is `skip`.

    Raises:
        UsageError: no such source, a `--map` that does not fit, or no folder for images that need one.
        InputError: a row that makes no prompt (with `skip`: not one row that makes any), an unknown layout, or no rows.
    """
    mapping = _mapping(config.map)
    errors = _Errors(config.on_error, skipped)
    prompts: Iterator[Prompt]
    notices = _Notices(notice)
    if source.startswith(PREFIX):  # whose images are small, within the prompts, and ours
        prompts = _shuffled(_builtin(source, config), config)
    else:
        placed = _shuffled(_rows_as_prompts(source, config, mapping, notices, errors), config)
        gallery = Gallery(_folder(source), out, config.images, allow_remote=config.allow_remote_images)
        prompts = _with_images(source, placed, gallery, errors)
    for prompt in itertools.islice(prompts, config.limit):
        yield adorned(prompt, config.instruction, config.verifier)
    notices.tell_rows()


def _shuffled(items: Iterator[T], config: PrepareConfig) -> Iterator[T]:
    if not config.shuffle:
        return items
    shuffled = list(items)
    random.Random(config.seed).shuffle(shuffled)
    return iter(shuffled)


class _Errors:
    """What becomes of a row that makes no prompt."""

    def __init__(self, on_error: Literal["stop", "skip"], skipped: Callable[[InputError], None] | None) -> None:
        self._on_error = on_error
        self._skipped = skipped
        self._first: InputError | None = None
        self._count = 0

    def met(self, error: InputError) -> None:
        if self._on_error == "stop":
            raise error
        self._first = self._first or error
        self._count += 1
        if self._skipped:
            self._skipped(error)

    def check(self, source: str) -> None:
        """Raises InputError where rows were skipped; to be called when nothing else came."""
        if self._first:
            raise InputError(f"{_name(source)}: none of {self._count} rows makes a prompt; the first: {self._first}")


class _Notices:
    """What people are told about a source: of its rows each thing once, at the end, with the number of rows."""

    def __init__(self, notice: Callable[[str], None] | None) -> None:
        self._notice = notice or (lambda text: None)
        self._first: dict[str, str] = {}
        self._rows: Counter[str] = Counter()

    def of_source(self, source: str, text: str) -> None:
        self._notice(f"{_name(source)}: {text}")

    def of_row(self, place: str, text: str) -> None:
        self._first.setdefault(text, place)
        self._rows[text] += 1

    def tell_rows(self) -> None:
        for text, place in self._first.items():
            others = self._rows[text] - 1
            self._notice(f"{place}{f' and {others} more' if others else ''}: {text}")


def _name(source: str) -> str:
    return "stdin" if source == "-" else source


def _folder(source: str) -> Path:
    """Where relative paths start from: the file's folder, or the folder that is the source."""
    path = Path(source).absolute()
    if path.is_dir():
        return path
    return path.parent if source != "-" and is_file(source) else Path.cwd()


def _rows_as_prompts(source: str, config: PrepareConfig, mapping: Mapping[str, str], notices: _Notices,
                     errors: _Errors) -> Iterator[tuple[str, Prompt]]:
    prefix = "" if source == "-" else Path(source.partition(":")[0]).name.partition(".")[0]
    layout = None
    unique = UniqueIds()
    empty = True
    for place, row in rows(source, config.split):
        empty = False
        if isinstance(row, InputError):
            errors.met(row)
            continue
        if layout is None:
            layout = detect(row, mapping, place)
            notices.of_source(source, f"layout {layout}")
        try:
            prompt = prompt_of(row, layout, place, number_prefix=prefix, keep_reply=config.keep_reply,
                               tell=functools.partial(notices.of_row, place))
        except InputError as error:
            errors.met(error)
        else:
            yield place, unique(prompt)
    if empty:
        raise InputError(f"{_name(source)}: empty; expected rows")


def _with_images(source: str, prompts: Iterable[tuple[str, Prompt]], gallery: Gallery,
                 errors: _Errors) -> Iterator[Prompt]:
    empty = True
    for place, prompt in prompts:
        try:
            hung = gallery.hung(prompt, place)
        except InputError as error:
            errors.met(error)
        else:
            empty = False
            yield hung
    if empty:
        errors.check(source)


def _builtin(source: str, config: PrepareConfig) -> Iterator[Prompt]:
    return problems(source, config.split, config.seed, sys.maxsize if config.limit is None else config.limit)


def _mapping(entries: tuple[str, ...]) -> dict[str, str]:
    """`("question=problem",)` as a dictionary."""
    mapping = {}
    for entry in entries:
        field, _, column = entry.partition("=")
        if not field or not column:
            raise UsageError(f"--map {entry}: expected FIELD=COLUMN, e.g. question=problem")
        mapping[field] = column
    return mapping
