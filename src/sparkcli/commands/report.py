"""`report`: a file of records or a run in, one HTML page out. Streams the file, and keeps what is shown."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sparkcli.commands.console import Console
from sparkcli.commands.options import command
from sparkcli.config import ReportConfig
from sparkcli.errors import SparkError, UsageError
from sparkcli.files.jsonl import write_atomic

Source = Annotated[str, typer.Argument(help="records of any kind, also .gz and .zst, - is standard input; or the "
                                            "directory of a loop", metavar="FILE|RUN")]


@command
def report(source: Source, *, config: ReportConfig, console: Console) -> None:
    """Prompts with their images, samples, verdicts and judgements, and counts of them; of a run its settings, results
    and curves, and the samples of its newest step. The page is one file that opens anywhere and loads nothing.

    sparkcli report scored.jsonl -o scored.html
    """
    place = place_of(source, config.out)
    from sparkcli.run.report.writing import page_on_records, page_on_run

    is_run = source != "-" and Path(source).is_dir()
    page = (page_on_run(Path(source), config.limit, allow_remote=config.allow_remote_images) if is_run else
            page_on_records(source, config.limit, allow_remote=config.allow_remote_images))
    write(place, page.content)
    console.say(f"wrote {place or 'the page'}: {page.summary}")


def place_of(source: str, out: str | None) -> Path | None:
    """Where the page goes; None: to standard output.

    Raises:
        UsageError: it is not told, or cannot be written there.
    """
    if out == "-":
        return None
    if out is None and source == "-":
        raise UsageError("records on standard input have no name for the page; give one with -o")
    place = Path(out) if out is not None else beside(Path(source))
    if place.is_dir():
        raise UsageError(f"{place}: is a directory; name a file")
    if out is not None and not place.parent.is_dir():
        raise UsageError(f"{place}: there is no folder {place.parent}")
    if place.exists() and source != "-" and Path(source).exists() and place.samefile(source):
        raise UsageError(f"{place}: is the file that the page is on; choose another -o")
    return place


def write(place: Path | None, content: bytes) -> None:
    """A file appears whole or not at all; a device or named pipe is written directly.

    Raises:
        SparkError: it cannot be written.
    """
    try:
        if place is None:
            sys.stdout.buffer.write(content)
        elif place.exists() and not place.is_file():
            place.write_bytes(content)
        else:
            write_atomic(place, content)
    except BrokenPipeError:
        raise
    except OSError as error:
        name = place or "standard output"
        raise SparkError(f"{name}: cannot be written: {error.strerror}; name another place with -o") from None


def beside(source: Path) -> Path:
    """`NAME.html` of `NAME.jsonl.gz`; `report.html` in a directory."""
    if source.is_dir():
        return source / "report.html"
    name = source.name.removesuffix(".gz").removesuffix(".zst").removesuffix(".jsonl")
    return source.with_name(f"{name}.html")
