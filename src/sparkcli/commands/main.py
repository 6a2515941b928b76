"""The program: its subcommands, in the order of the pipeline."""

from typing import Annotated

import typer

from sparkcli import __version__
from sparkcli.commands import (bench, doctor, export, judge, loop, prepare, recycle, reflect, rollout, schema,
                               train_step, verify)

app = typer.Typer(
    name="sparkcli",
    help="Post-train language models with SPARK: rollouts are verified, trained on, recycled into judge and "
         "reflection prompts, and trained on again. Every stage is a filter over JSON Lines.",
    no_args_is_help=True, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]})

for _stage in (prepare, rollout, verify, recycle, train_step, judge, reflect, loop, export, schema, doctor):
    _name = _stage.__name__.rsplit(".", 1)[-1]
    app.command(_name.replace("_", "-"))(getattr(_stage, _name))
app.add_typer(bench.app, name="bench")


def _version(asked: bool) -> None:
    if asked:
        print(f"sparkcli {__version__}")
        raise typer.Exit


@app.callback()
def _root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True,
                                                help="print the version")] = False) -> None:
    pass


def main() -> None:
    """Entry point of the `sparkcli` script."""
    app()
