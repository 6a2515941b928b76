"""`report`: a file of records or a run in, one HTML page out. Streams the file, and keeps what is shown."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sparkcli.commands.console import Console
from sparkcli.commands.options import command
from sparkcli.config import ReportConfig
from sparkcli.errors import UsageError
from sparkcli.files.jsonl import write_atomic

Source = Annotated[str, typer.Argument(help="records of any kind, also .gz and .zst, - is standard input; or the "
                                            "directory of a loop", metavar="FILE|RUN")]


@command
def report(source: Source, *, config: ReportConfig, console: Console) -> None:
    """Prompts with their images, samples, verdicts and judgements, and counts of them; of a run its settings, results
    and curves, and the samples of its newest step. The page is one file that opens anywhere and loads nothing.

    sparkcli report scored.jsonl -o scored.html
    """
    page = page_of(source, config.out)
    from sparkcli.run.report.writing import page_on_records, page_on_run

    is_run = source != "-" and Path(source).is_dir()
    content = (page_on_run(Path(source), config.limit, allow_remote=config.allow_remote_images) if is_run else
               page_on_records(source, config.limit, allow_remote=config.allow_remote_images))
    if page is None:
        sys.stdout.buffer.write(content)
        return
    write_atomic(page, content)
    console.say(f"wrote {page} ({len(content) / 1e6:.1f} MB)")


def page_of(source: str, out: str | None) -> Path | None:
    """Where the page goes; None: to standard output.

    Raises:
        UsageError: it is not told, or cannot be written there.
    """
    if out == "-":
        return None
    if out is None and source == "-":
        raise UsageError("records on standard input have no name for the page; give one with -o")
    page = Path(out) if out is not None else beside(Path(source))
    if page.is_dir():
        raise UsageError(f"{page}: is a directory; name a file")
    if not page.parent.is_dir():
        raise UsageError(f"{page}: there is no folder {page.parent}")
    if page.exists() and source != "-" and Path(source).exists() and page.samefile(source):
        raise UsageError(f"{page}: is the file that the page is on; choose another -o")
    return page


def beside(source: Path) -> Path:
    """`NAME.html` of `NAME.jsonl.gz`; `report.html` in a directory."""
    if source.is_dir():
        return source / "report.html"
    name = source.name.removesuffix(".gz").removesuffix(".zst").removesuffix(".jsonl")
    return source.with_name(f"{name}.html")
