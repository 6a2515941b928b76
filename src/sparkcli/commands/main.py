"""The program: its subcommands, in the order of the pipeline.

Only the command that is asked for is imported, and the list of commands needs none: `--help` stays quick.
"""

import importlib
import inspect
import os
import sys
from typing import Annotated

import typer

from sparkcli import __version__
from sparkcli.commands.options import HELP_FLAGS, STYLE

COMMANDS = {
    "prepare": "Turns rows of a data set into prompts.",
    "rollout": "Samples completions for prompts, one line a sample.",
    "verify": "Checks completions against gold answers.",
    "recycle": "Makes judge and reflection prompts from verified rollouts.",
    "train-step": "Updates a policy with GRPO: a new policy directory.",
    "judge": "Uses the model as generative reward model.",
    "reflect": "Lets the model judge its own answers and correct itself.",
    "bench": "Measures a policy on benchmarks.",
    "loop": "Runs the whole method from a recipe, resumable.",
    "export": "Merges an adapter into a plain Hugging Face folder.",
    "schema": "Prints the JSON Schema of a record.",
    "doctor": "Prints versions, hardware, and what would run on it.",
}
"""Each command and what it does. Details stand in the docstring of its function, in the module of its name."""

HELP = ("Post-train language models with SPARK: rollouts are verified, trained on, recycled into judge and reflection "
        "prompts, and trained on again. Every stage is a filter over JSON Lines.")


def main() -> None:
    """Entry point of the `sparkcli` script."""
    asked = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if asked in COMMANDS and "_SPARKCLI_COMPLETE" not in os.environ:
        alone(asked)(args=sys.argv[2:], prog_name=f"sparkcli {asked}")
    else:
        whole(listed_only=asked in HELP_FLAGS)(prog_name="sparkcli")


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
    app = typer.Typer(help=HELP, no_args_is_help=True, **STYLE)
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
    function = getattr(importlib.import_module(f"sparkcli.commands.{word}"), word)
    details = inspect.cleandoc(function.__doc__ or "").replace("\nsparkcli ", "\n\b\n    sparkcli ")  # \b: not rewrapped
    app.command(name, help=f"{COMMANDS[name]}\n\n{details}")(function)


def _version(asked: bool) -> None:
    if asked:
        print(f"sparkcli {__version__}")
        raise typer.Exit


def _root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True,
                                                help="print the version")] = False) -> None:
    pass
