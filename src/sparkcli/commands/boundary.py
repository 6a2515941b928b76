"""The one place where errors become messages and exit codes."""

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import typer

from sparkcli.errors import SparkError

INTERRUPTED = 130
TOLD_IN = "SPARKCLI_TOLD_IN"
"""Folder in which each of several processes leaves what it has to tell, for the launcher to tell what came first."""


@contextlib.contextmanager
def guarded(*, verbose: bool) -> Iterator[None]:
    """Runs a command's body: one line for an error, silence for a closed pipe, 130 for an interruption."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
        sys.stdout.flush()  # here a full disk or a closed pipe still has somebody to tell it
    except SparkError as error:
        raise _ended(error, str(error), error.exit_code, verbose) from None
    except KeyboardInterrupt as error:
        raise _ended(error, "interrupted", INTERRUPTED, verbose) from None
    except BrokenPipeError:
        silence_stdout()
        raise typer.Exit(0) from None  # who reads had enough: not an error
    except (OSError, MemoryError) as error:
        silence_stdout()
        raise _ended(error, _line(error), SparkError.exit_code, verbose) from None
    except Exception as error:  # noqa: BLE001 - the last resort: a defect of ours, still told in one line
        told = f"{type(error).__name__}: {_line(error)} (a defect of sparkcli; -v shows where)"
        raise _ended(error, told, SparkError.exit_code, verbose) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def tell(message: str) -> None:
    """One line on standard error, whatever breaks the message holds."""
    line = " ".join(message.split())
    if TOLD_IN in os.environ:
        Path(os.environ[TOLD_IN], os.environ["RANK"]).write_text(line, encoding="utf-8")
    else:
        print(f"sparkcli: {line}", file=sys.stderr, flush=True)


def _ended(error: BaseException, message: str, code: int, verbose: bool) -> typer.Exit:
    """The end of the program. Notes of the error (where a partial output was kept) join its message."""
    if verbose:
        traceback.print_exc()
    tell("; ".join([message, *getattr(error, "__notes__", ())]))
    return typer.Exit(code)


def _line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'standard output'}: {error.strerror}"
    return str(error) or type(error).__name__


def silence_stdout() -> None:
    """Python flushes stdout at exit; what cannot be written must not be tried again."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
