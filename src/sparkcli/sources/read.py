"""Rows of tables: JSON, JSON Lines, CSV and Parquet files, compressed or not, and hub datasets.

A row is a dictionary of JSON values by column. Everything but `.json` streams.
"""

import csv
import io
import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from sparkcli.errors import InputError, UsageError
from sparkcli.fields import kind_of
from sparkcli.files.jsonl import decode, lines, open_input, without_mark
from sparkcli.json_values import decode_error, from_bytes

Row = dict[str, Any]
Rows = Iterator[tuple[str, Row | InputError]]
"""`(place, row)`; the place (`file:line`, `dataset:number`) opens every error about the row. An error instead of the
row is about it alone: the next can be read."""

_HUB_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?(?::[\w.-]+)?")
_LONGEST_CELL = 1 << 30
_BATCH = 64
"""Rows in memory at once, which may hold images."""


def is_file(source: str) -> bool:
    """Whether a source is a file or standard input, and not a hub dataset or a folder of one."""
    if os.path.isdir(source):
        return False
    return source == "-" or os.path.isfile(source) or _format(source) is not None


def rows(source: str, split: str) -> Rows:
    """The rows of a file by its suffix, of standard input (JSON Lines), or of a hub dataset's split.

    Raises:
        InputError: the file is not what its suffix says, or cannot be read on.
        UsageError: no such file or dataset, an unknown suffix, or the hub cannot be reached.
    """
    if not is_file(source):
        return _hub(source, split)
    reader = _json_lines if source == "-" else _format(source)
    if reader is None:
        kinds = ", ".join(_READERS)
        raise UsageError(f"{source}: unknown kind of file; expected {kinds}, perhaps with .gz or .zst")
    return reader(source)


def _json_lines(path: str) -> Rows:
    for place, line in lines(path):
        try:
            value = decode(line, place, foreign=True)
        except InputError as error:
            yield place, error
        else:
            yield place, _row(value, place)


def _json(path: str) -> Rows:
    with open_input(path) as stream:
        content = without_mark(stream.read())
    try:
        value = from_bytes(content, foreign=True)
    except orjson.JSONDecodeError as error:
        if not _is_json(content.partition(b"\n")[0]):
            raise InputError(f"{path}: {decode_error(error)}") from None
        yield from _json_lines(path)  # JSON Lines under the name of JSON
        return
    for key, row in _items(value, path):
        place = f"{path}: entry {key}"
        yield place, _row(row, place)


def _items(value: Any, path: str) -> Iterable[tuple[Any, Any]]:
    """The rows of a list; of an object of rows, which get their key as `id`; of an object around one list."""
    if isinstance(value, list):
        return enumerate(value, 1)
    if isinstance(value, dict) and value:
        if all(isinstance(row, dict) for row in value.values()):
            return ((key, {"id": key, **row}) for key, row in value.items())
        lists = [entry for entry in value.values() if isinstance(entry, list)]
        if len(lists) == 1:
            return enumerate(lists[0], 1)
    raise InputError(f"{path}: expected a list or an object of rows, or one object a line")


def _csv(path: str) -> Rows:
    """Cells are text, whatever they look like; an empty one is null. Names of columns lose the space around them, and
    columns without a name, as spreadsheets and indexes leave them, are left out."""
    csv.field_size_limit(_LONGEST_CELL)
    with io.TextIOWrapper(open_input(path), "utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        try:
            filled = (cells for cells in reader if cells)
            columns = [name.strip() for name in next(filled, ())]
            _check_columns(list(filter(None, columns)), path)
            if len(columns) == 1 and (found := next((mark for mark in ";\t|" if mark in columns[0]), None)):
                raise InputError(f"{path}: cells are separated by {found!r}; save it with commas")
            for cells in filled:
                place = f"{path}:{reader.line_num}"
                if len(cells) != len(columns):
                    yield place, InputError(f"{place}: expected {len(columns)} cells, as in the header")
                else:
                    yield place, {name: cell or None for name, cell in zip(columns, cells, strict=True) if name}
        except UnicodeDecodeError as error:
            raise InputError(f"{path}:{reader.line_num + 1}: not UTF-8 (byte 0x{error.object[error.start]:02x}); save "
                             "it in UTF-8") from None
        except csv.Error as error:
            raise InputError(f"{path}:{reader.line_num + 1}: not CSV: {error}") from None


def _parquet(path: str) -> Rows:
    import pyarrow
    import pyarrow.parquet

    with open_input(path) as stream:
        try:
            table = pyarrow.parquet.ParquetFile(stream)
            _check_columns(table.schema_arrow.names, path)
            batches = table.iter_batches(batch_size=_BATCH)
            for number, row in enumerate(itertools.chain.from_iterable(map(_rows_of, batches)), 1):
                yield f"{path}: row {number}", row
        except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:  # the last two: dates beyond ours
            raise InputError(f"{path}: not Parquet: {_one_line(error)}") from None


def _check_columns(names: Sequence[str], path: str) -> None:
    """Raises InputError where two columns have one name: a row would have only the last of them."""
    double = next((name for name, count in Counter(names).items() if count > 1), None)
    if double is not None:
        raise InputError(f"{path}: two columns are called {double!r}; rename one of them")


def _hub(source: str, split: str) -> Rows:
    """`OWNER/NAME` or `OWNER/NAME:CONFIG`, or a folder that holds such a dataset or one split of it."""
    if not os.path.isdir(source) and not _HUB_ID.fullmatch(source):
        raise UsageError(f"{source}: no such file, and no id of a hub dataset")
    import datasets

    datasets.disable_progress_bars()  # people are told about progress, and of errors, by the commands alone
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    name, _, config = (source, "", "") if os.path.isdir(source) else source.partition(":")
    files: list[str] = []
    try:
        if os.path.isfile(os.path.join(name, "state.json")):  # what `save_to_disk` writes of one split
            table = datasets.load_from_disk(name)
        elif not (files := _text_files(name, split)):
            table = datasets.load_dataset(name, config or _usual_config(name), split=split)
    except Exception as error:  # noqa: BLE001 - the hub's client raises dozens of kinds
        cause = error.__cause__ if isinstance(error, datasets.exceptions.DatasetGenerationError) else None
        raise UsageError(f"{source}: no such file, and as a dataset: {_one_line(cause or error)}") from None
    if files:
        yield from itertools.chain.from_iterable(rows(file, split) for file in files)
        return
    batches = table.with_format("arrow").iter(batch_size=_BATCH)  # images stay the bytes that they were
    for number, row in enumerate(itertools.chain.from_iterable(map(_rows_of, batches)), 1):
        yield f"{source}: row {number}", row


def _rows_of(batch: Any) -> list[Row]:
    """The rows of an Arrow batch or table. A number of 16 or 32 bits is read as it is written, 0.1 and not
    0.10000000149011612."""
    import pyarrow.types

    rows: list[Row] = batch.to_pylist()
    for field in batch.schema:
        if pyarrow.types.is_float32(field.type) or pyarrow.types.is_float16(field.type):
            for row, number in zip(rows, batch.column(field.name).to_numpy(zero_copy_only=False), strict=True):
                row[field.name] = None if row[field.name] is None else float(str(number))
    return rows


def _text_files(folder: str, split: str) -> list[str]:
    """The files of a split, where a folder's are CSV or JSON that are read without settings of their own: `datasets`
    would take 007 for 7, NA for nothing, and long integers for floats."""
    import datasets

    if not os.path.isdir(folder):
        return []
    builder = datasets.load_dataset_builder(folder, _usual_config(folder))
    config = builder.config
    is_text = type(builder).__module__.startswith(("datasets.packaged_modules.csv.", "datasets.packaged_modules.json."))
    if not is_text or config.features or getattr(config, "sep", ",") != "," or getattr(config, "field", None):
        return []
    files = {str(name): list(map(str, paths)) for name, paths in (config.data_files or {}).items()}.get(split, [])
    return files if all(map(_format, files)) else []


def _usual_config(name: str) -> str | None:
    """What to take where no configuration is named: the only one, `default` or `main`; None: the hub asks."""
    import datasets

    names = datasets.get_dataset_config_names(name)
    if len(names) == 1:
        return str(names[0])
    return next((usual for usual in ("default", "main") if usual in names), None)


def _format(source: str) -> Callable[[str], Rows] | None:
    suffixes = [suffix for suffix in Path(source).suffixes if suffix not in (".gz", ".zst")]
    return _READERS.get(suffixes[-1]) if suffixes else None


def _row(value: Any, place: str) -> Row | InputError:
    is_row = isinstance(value, dict)
    return value if is_row else InputError(f"{place}: expected an object, found {kind_of(value)}")


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(from_bytes(line, foreign=True), dict)
    except orjson.JSONDecodeError:
        return False


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


_READERS: dict[str, Callable[[str], Rows]] = {
    ".jsonl": _json_lines, ".ndjson": _json_lines, ".json": _json, ".csv": _csv, ".parquet": _parquet}
