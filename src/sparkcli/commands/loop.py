"""`loop`: the whole method, from a recipe."""

import os
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from sparkcli.commands.console import Console
from sparkcli.commands.options import command
from sparkcli.config import SECTIONS, parse_text
from sparkcli.errors import UsageError, nearest
from sparkcli.files.recipe import read_recipe

Recipe = Annotated[str | None, typer.Argument(help="TOML file; with --resume it may be left out", metavar="[RECIPE]")]
Override = Annotated[list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", show_default=False,
                                                    help="one setting, over the recipe's; repeatable")]
Steps = Annotated[int | None, typer.Option(help="over the recipe's loop.steps", show_default=False)]
Out = Annotated[str | None, typer.Option("-o", "--out", help="run directory, over loop.out", show_default=False)]
Resume = Annotated[bool, typer.Option("--resume", help="continue the run in -o where it stopped")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="print the resolved recipe and stop")]


@command
def loop(recipe: Recipe = None, *, out: Out = None, steps: Steps = None, settings: Override = None,
         resume: Resume = False, dry_run: DryRun = False, console: Console) -> None:
    """Rollout, verify, train, recycle and train again, with evaluations before and after. Killed at any instant, the same command with --resume continues; the files are those of a run that was never killed.

    sparkcli loop recipes/quickstart.toml -o runs/first
    """
    sections = _sections(recipe, out, settings or [], resume)
    from sparkcli.run.settings import Settings

    resolved = Settings.of(sections, os.environ, {"steps": steps, "out": out})
    if dry_run:
        from sparkcli.files.recipe import write_recipe

        print(write_recipe(resolved.sections()), end="")
        return
    from sparkcli.run.loop import run
    from sparkcli.run.watch import watching

    with watching(terminal=console.terminal, quiet=console.quiet, steps=resolved.loop.steps) as watcher:
        run(resolved, watcher, resume=resume)


def _sections(recipe: str | None, out: str | None, overrides: list[str], resume: bool) -> dict[str, Any]:
    """The recipe (of the run itself where it is continued without one) with `--set` laid over it."""
    if recipe is None and resume and out:
        recipe = str(Path(out) / "recipe.toml")
    sections: dict[str, Any] = read_recipe(recipe) if recipe else {}
    for text in overrides:
        name, equals, value = text.partition("=")
        section, dot, key = name.partition(".")
        if not equals or not dot:
            raise UsageError(f"--set {text!r}: expected SECTION.KEY=VALUE, e.g. --set train.lr=1e-4")
        if section not in SECTIONS:
            raise UsageError(f"--set {text!r}: unknown section{nearest(section, SECTIONS)}")
        keys = [f.name for f in fields(SECTIONS[section])]
        if key not in keys:
            raise UsageError(f"--set {text!r}: unknown key{nearest(key, keys)}")
        sections.setdefault(section, {})[key] = parse_text(SECTIONS[section], key, value, f"--set {name}")
    return sections
