"""Streams of JSON Lines: `-` for standard streams, gzip and zstd by suffix, atomic outputs that can be continued.

Every stage writes in the order it reads, so a partial output is a prefix of the whole one: continuing it means keeping
its complete groups and skipping as many prompts of the input.
"""

import codecs
import contextlib
import gzip
import io
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar, cast

import orjson

from sparkcli.errors import InputError, SparkError, UsageError
from sparkcli.files.images import absolute_images
from sparkcli.files.stdin import stdin
from sparkcli.json_values import decode_error, from_bytes
from sparkcli.records import MEASURED, Prompt, R, Rollout, dumps, from_json

T = TypeVar("T", bound=Prompt)

_BUFFER = 1 << 17
"""Bytes: records have kilobytes, and a call of the system for every few of them adds up."""

Skip = Callable[[InputError], None]
"""Is handed the errors of lines that are left out."""


def open_input(path: str) -> BinaryIO:
    """The bytes of a file, or of standard input for `-`; decompressed by suffix.

    Raises:
        InputError: no such file, a directory, or not readable.
    """
    if path == "-":
        return sys.stdin.buffer
    try:
        if os.path.isdir(path):
            raise InputError(f"{path}: is a directory; expected a file")
        return _decompressed(path, path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None


def lines(path: str) -> Iterator[tuple[str, bytes]]:
    """`(place, line)` of each line that is not blank; place is `file:number`."""
    name = "stdin" if path == "-" else path
    number = 0
    try:
        with contextlib.nullcontext(stdin()) if path == "-" else contextlib.closing(open_input(path)) as stream:
            for number, read_line in enumerate(stream, 1):
                line = without_mark(read_line) if number == 1 else read_line
                if line and not line.isspace():
                    yield f"{name}:{number}", line
    except (OSError, EOFError) as error:
        raise InputError(f"{name}:{number + 1}: cannot be read further: {error}") from None
    except _zstd_errors() as error:
        raise InputError(f"{name}:{number + 1}: cannot be decompressed: {error}") from None


def without_mark(content: bytes) -> bytes:
    """What follows the byte order mark that some systems open files with."""
    return content.removeprefix(codecs.BOM_UTF8)


def decode(line: bytes, place: str, *, foreign: bool = False) -> Any:
    """The JSON value of a line, or an InputError that says at which column it breaks; see `from_bytes`."""
    try:
        return from_bytes(line, floats=MEASURED, foreign=foreign)
    except orjson.JSONDecodeError as error:
        raise InputError(f"{place}: {decode_error(error)}") from None


def read(path: str, cls: type[R]) -> Iterator[R]:
    """The records of a file, one at a time. Image paths that are relative to the file come out absolute.

    Raises:
        InputError: a line is not a record of this kind, or there is no line at all.
    """
    return of_lines(((place, decode(line, place)) for place, line in lines(path)), path, cls)


def of_lines(values: Iterable[tuple[str, Any]], path: str, cls: type[R], skip: Skip | None = None) -> Iterator[R]:
    """The records of decoded lines of a file, each with its place; what is an error instead is raised in its turn.

    Raises as `read` does. With `skip` lines that are no records are left out, as long as there are others.
    """
    name = "stdin" if path == "-" else path
    folder = Path.cwd() if path == "-" else Path(path).absolute().parent
    read, errors = 0, list[InputError]()
    for place, value in values:
        try:
            if isinstance(value, InputError):
                raise value
            record = absolute_images(from_json(cls, value, place), folder)
        except InputError as error:
            if skip is None:
                raise
            skip(error)
            errors = errors or [error]
        else:
            read += 1
            yield record
    if not read and errors:
        raise InputError(f"{name}: no line is a {cls.__name__.lower()} record; the first: {errors[0]}")
    if not read:
        raise InputError(f"{name}: empty; expected {cls.__name__.lower()} records")


class Output:
    """Records to standard output, or to a file that appears whole or not at all.

    A file is written as `.NAME.partial` beside its place and renamed when done; its place is where a link leads.
    Interrupted, the partial file stays, in whole lines, and `resume=True` continues it; with `resume=None` it cannot be
    continued and does not stay. What `is_stream` is written directly. `together`: groups that are computed together,
    counted from the first; of a partial file only a multiple of it is kept.

    Raises:
        UsageError: the path cannot be written.
        SparkError: the disk is full.
    """

    def __init__(self, path: str, *, resume: bool | None = False, together: int = 1) -> None:
        if resume and path == "-":
            raise UsageError("--resume continues a file; name one with -o")
        if path != "-" and Path(path).is_dir():
            raise UsageError(f"{path}: is a directory; name a file")
        self.path = path
        self._keeps = resume is not None
        self._direct = is_stream(path)
        self._place = Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)
        self._partial = self._place.with_name(f".{self._place.name}.partial")
        self._kept: list[bytes] = []
        self.done: list[str] = []
        if resume and self._partial.exists():
            groups = list(_whole_groups(self._partial, path))
            self._keep(groups[:len(groups) // together * together])
        elif resume and Path(path).exists():
            self._keep(_whole_groups(Path(path), path))

    def __enter__(self) -> Self:
        if self.path == "-":
            self._stream: BinaryIO = sys.stdout.buffer
            return self
        try:
            self._stream = _open_output(self.path if self._direct else str(self._partial), self.path)
        except FileNotFoundError:
            raise UsageError(f"{self.path}: there is no folder {Path(self.path).parent}") from None
        except PermissionError as error:
            raise UsageError(f"{self.path}: {error.strerror}") from None
        if self._kept:
            self._append(b"".join(self._kept), flush=True)
        return self

    def write(self, record: Prompt) -> None:
        """Appends one record."""
        self._append(dumps(record))

    def write_group(self, records: Iterable[Prompt]) -> None:
        """Appends records and hands them on at once, so that a reader of the pipe sees whole groups."""
        self._append(b"".join(map(dumps, records)), flush=True)

    def flush(self) -> None:
        """Hands on what was written, where somebody reads along."""
        if self._direct:
            self._append(b"", flush=True)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self.path == "-":
            if kind is None:
                self._append(b"", flush=True)
            return
        if error is not None:
            self._abandon(error)
            return
        try:
            self._append(b"", flush=True)
            self._stream.close()
            if not self._direct:
                commit(self._partial, self._place)
        except (OSError, SparkError) as failure:
            told = failure if isinstance(failure, SparkError) else self._unwritable(failure)
            self._abandon(told)
            raise told from None

    def _append(self, content: bytes, *, flush: bool = False) -> None:
        try:
            self._stream.write(content)
            if flush:
                self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> SparkError:
        name = "standard output" if self.path == "-" else self.path
        return SparkError(f"{name}: cannot be written: {error.strerror}")

    def _abandon(self, error: BaseException) -> None:
        """Closes a file that is not whole; a note on `error` says where what is done stays."""
        with contextlib.suppress(OSError):  # the error under way says more than the second failure to write
            self._stream.close()
        if self._direct or not self._partial.exists():
            return
        if not self._keeps or self._partial.stat().st_size == 0:
            self._partial.unlink()
        else:
            error.add_note(f"what is done stays in {self._partial}, --resume goes on from there")

    def _keep(self, groups: Iterable[tuple[str, list[bytes]]]) -> None:
        for id, group in groups:
            self.done.append(id)
            self._kept += group

    def skip_done(self, prompts: Iterable[T]) -> Iterator[T]:
        """The prompts (or rollouts, group by group) that are still to do.

        Raises:
            InputError: the partial output was made from another input.
        """
        return _skip(prompts, self.done, self.path)


def _skip(prompts: Iterable[T], done: list[str], path: str) -> Iterator[T]:
    position, last = 0, None
    for prompt in prompts:
        if isinstance(prompt, Rollout) and prompt.id == last:
            continue
        if position < len(done):
            if done[position] != prompt.id:
                raise InputError(f"{path}: --resume: entry {position + 1} was made from prompt {done[position]!r}, "
                                 f"the input has {prompt.id!r} there; same input, or a new -o")
            position, last = position + 1, prompt.id
            continue
        last = None
        yield prompt


def commit(temporary: Path, path: Path) -> None:
    """Makes a finished temporary file durable under its real name."""
    sync(temporary)
    os.replace(temporary, path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Makes a file's content, or the renames inside a folder, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, content: bytes) -> None:
    """A small file, whole or not at all."""
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_bytes(content)
    commit(temporary, path)


def _open_output(path: str, name: str) -> BinaryIO:
    """Opens `path` for writing, compressed as `name` says."""
    if name.endswith(".gz"):
        file = open(path, "wb")  # noqa: SIM115 - closed with the stream around it
        return cast(BinaryIO, _Owning(gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0)))  # same bytes
    if name.endswith(".zst"):
        import zstandard

        return cast(BinaryIO, zstandard.open(path, "wb"))
    return open(path, "wb", buffering=_BUFFER)


def _decompressed(path: str, name: str) -> BinaryIO:
    """The bytes of `path`, decompressed as the suffix of `name` says."""
    if name.endswith(".gz"):
        return cast(BinaryIO, gzip.open(path, "rb"))
    if name.endswith(".zst"):
        return cast(BinaryIO, io.BufferedReader(_ZstdReader(path), _BUFFER))
    return open(path, "rb", buffering=_BUFFER)


class _ZstdReader(io.RawIOBase):
    """Bytes of a zstd file. Unlike the library's own reader it raises EOFError where the file was cut."""

    def __init__(self, path: str) -> None:
        import zstandard  # only where a file needs it: start-up stays short

        self._file = open(path, "rb")  # noqa: SIM115 - closed by close()
        self._frames = zstandard.ZstdDecompressor()
        self._frame = self._frames.decompressobj()
        self._pending = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._pending:
            if self._frame.eof:
                block = self._frame.unused_data or self._file.read(1 << 16)
                if not block:
                    return 0
                self._frame = self._frames.decompressobj()
            else:
                block = self._file.read(1 << 16)
                if not block:
                    raise EOFError("compressed file ended before the end of its last frame")
            self._pending = self._frame.decompress(block)
        count = min(len(buffer), len(self._pending))
        buffer[:count] = self._pending[:count]
        self._pending = self._pending[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class _Owning(io.BufferedWriter):
    """GzipFile does not close a stream that it was handed; this closes both."""

    def close(self) -> None:
        if not self.closed:
            inner = cast(gzip.GzipFile, self.raw).fileobj
            try:
                super().close()
            finally:
                cast(BinaryIO, inner).close()


def is_stream(path: str) -> bool:
    """Whether an output is no file of its own: `-`, a device or named pipe, or what is open already (`/dev/stdout`),
    also by a link."""
    if path == "-":
        return True
    if not os.path.exists(path) or os.path.isdir(path):
        return False
    if not stat.S_ISREG(os.stat(path).st_mode):
        return True
    while not os.path.abspath(path).startswith(_OPEN_ALREADY) and os.path.islink(path):
        path = os.path.join(os.path.dirname(path), os.readlink(path))
    return os.path.abspath(path).startswith(_OPEN_ALREADY)


_OPEN_ALREADY = ("/proc/", "/dev/fd/", "/dev/stdout", "/dev/stderr")


def _whole_groups(before: Path, name: str) -> Iterator[tuple[str, list[bytes]]]:
    """Ids and lines of the groups that an earlier run wrote; the last group only if it is whole."""
    group: list[bytes] = []
    id = ""
    for record, line in _whole_lines(before, name):
        if group and record["id"] != id:  # a group that lacks its last samples is whole where another follows
            yield id, group
            group = []
        group.append(line)
        id = record["id"]
        if record["sample"] + 1 == record["samples"] if "samples" in record else True:
            yield id, group
            group = []


def _whole_lines(before: Path, name: str) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Decoded lines of a file that may have been cut anywhere; ends at the cut."""
    with _decompressed(str(before), name) as stream, contextlib.suppress(EOFError, *_zstd_errors()):
        for line in stream:
            if not line.endswith(b"\n"):
                return
            yield from_bytes(line, floats=MEASURED), line


def _zstd_errors() -> tuple[type[Exception], ...]:
    module = sys.modules.get("zstandard")
    return (module.ZstdError,) if module else ()
