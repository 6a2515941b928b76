"""The one place where errors become messages and exit codes."""

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from types import FrameType

import typer

from sparkcli.errors import SparkError

INTERRUPTED = 130


@contextlib.contextmanager
def guarded(*, verbose: bool) -> Iterator[None]:
    """Runs a command's body: one line for an error, silence for a closed pipe, 130 for an interruption."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except SparkError as error:
        raise _ended(str(error), error.exit_code, verbose) from None
    except KeyboardInterrupt:
        raise _ended("interrupted", INTERRUPTED, verbose) from None
    except BrokenPipeError:
        _silence_stdout()
        raise typer.Exit(0) from None  # who reads had enough: not an error
    except (OSError, MemoryError) as error:
        _silence_stdout()
        raise _ended(_line(error), SparkError.exit_code, verbose) from None
    except Exception as error:  # noqa: BLE001 - the last resort: a defect of ours, still told in one line
        raise _ended(f"{type(error).__name__}: {_line(error)} (a defect; -v shows where)", 1, verbose) from None


def _ended(message: str, code: int, verbose: bool) -> typer.Exit:
    if verbose:
        traceback.print_exc()
    print(f"sparkcli: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return typer.Exit(code)


def _line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'output'}: {error.strerror}"
    return str(error) or type(error).__name__


def _silence_stdout() -> None:
    """Python flushes stdout at exit; what cannot be written must not be tried again."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminate(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
