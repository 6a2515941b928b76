"""The program: its subcommands, in the order of the pipeline.

Only the command that is asked for is imported, and the list of commands needs none: `--help` stays quick.
"""

import importlib
import os
import sys
from typing import Annotated, Any

import typer

from sparkcli import __version__
from sparkcli.commands.boundary import INTERRUPTED, silence_stdout, tell
from sparkcli.commands.options import STYLE, add
from sparkcli.errors import SparkError, UsageError, nearest

COMMANDS = {
    "prepare": "Turns rows of a data set into prompts.",
    "rollout": "Samples completions for prompts, one line a sample.",
    "verify": "Checks completions against gold answers.",
    "recycle": "Makes judge and reflection prompts from verified rollouts.",
    "train-step": "Updates a policy on scored rollouts: a new policy directory.",
    "judge": "Uses the model as generative reward model.",
    "reflect": "Lets the model judge its own answers and correct itself.",
    "bench": "Measures a policy on benchmarks.",
    "serve": "Starts a server that the other commands sample at.",
    "loop": "Runs the whole method from a recipe, resumable.",
    "report": "Writes a page on records or a run, to look at.",
    "export": "Merges an adapter into a plain Hugging Face folder.",
    "schema": "Prints the JSON Schema of a record.",
    "doctor": "Prints versions, hardware, and what would run on it.",
}
"""Each command and what it does. Details stand in the docstring of its function, in the module of its name."""

HELP = ("Post-train language models with SPARK: rollouts are verified, trained on, recycled into judge and reflection "
        "prompts, and trained on again. Every stage is a filter over JSON Lines.")

WrongUsage: Any = typer.BadParameter.__base__
"""What typer raises for flags and arguments that it cannot read; it exports only this kind of it."""


def main() -> None:
    """Entry point of the `sparkcli` script."""
    # Torch's idle threads spin without end by default. Beside other busy processes that made steps ten times slower; a
    # short spin costs nothing there and keeps two idle cores as fast.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
    asked = sys.argv[1] if len(sys.argv) > 1 else "--help"
    try:
        if "_SPARKCLI_COMPLETE" in os.environ:
            status = whole()(prog_name="sparkcli")
        elif asked.startswith("-"):
            status = run(whole(listed_only=True), "sparkcli", [asked, *sys.argv[2:]])
        elif asked in COMMANDS:
            status = run(alone(asked), f"sparkcli {asked}", sys.argv[2:])
        else:
            tell(f"no command {asked!r}{nearest(asked, COMMANDS)}")
            status = UsageError.exit_code
    except KeyboardInterrupt:
        status = INTERRUPTED
    except OSError as error:  # help that cannot be printed
        silence_stdout()
        tell(f"standard output: {error.strerror}")
        status = SparkError.exit_code
    if status and _is_among_others():
        os._exit(status)  # threads that still talk to the other processes would abort a tidy exit
    sys.exit(status)


def _is_among_others() -> bool:
    """Whether this process still trains together with others, for which torch must have been loaded."""
    distributed = sys.modules.get("torch.distributed")
    return distributed is not None and distributed.is_available() and distributed.is_initialized()


def run(app: typer.Typer, program: str, arguments: list[str]) -> int:
    """The exit code of a program; a wrong flag or argument is told in one line."""
    try:
        return app(args=arguments, prog_name=program, standalone_mode=False) or 0
    except WrongUsage as error:
        context = error.ctx.command_path if error.ctx else program
        tell(f"{error.format_message().rstrip('.')}; see {context} --help")
        return UsageError.exit_code


def alone(name: str) -> typer.Typer:
    """One command as a program of its own."""
    module = importlib.import_module(f"sparkcli.commands.{name.replace('-', '_')}")
    if hasattr(module, "app"):
        app: typer.Typer = module.app
        return app
    app = typer.Typer(add_completion=False, **STYLE)
    _add(app, name)
    return app


def whole(*, listed_only: bool = False) -> typer.Typer:
    """All commands; `listed_only`: as names and summaries, without importing them."""
    app = typer.Typer(help=HELP, **STYLE)
    app.callback()(_root)
    for name, summary in COMMANDS.items():
        if listed_only:
            app.command(name, help=summary)(lambda: None)
        elif name == "bench":
            app.add_typer(alone(name), name=name, help=summary)
        else:
            _add(app, name)
    return app


def _add(app: typer.Typer, name: str) -> None:
    word = name.replace("-", "_")
    add(app, name, COMMANDS[name], getattr(importlib.import_module(f"sparkcli.commands.{word}"), word))


def _version(asked: bool) -> None:
    if asked:
        print(f"sparkcli {__version__}")
        raise typer.Exit


def _root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True,
                                                help="print the version")] = False) -> None:
    pass
