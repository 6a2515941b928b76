"""`loop`: the whole method, from a recipe."""

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from sparkcli.commands.console import Console
from sparkcli.commands.options import command
from sparkcli.config import SECTIONS, LoopConfig, check_recipe, field_type, literal, parse_text, resolve
from sparkcli.errors import UsageError, nearest
from sparkcli.files.recipe import read_recipe

Recipe = Annotated[str | None, typer.Argument(help="TOML file; with --resume it may be left out", metavar="RECIPE")]
Override = Annotated[list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", show_default=False,
                                                    help="one setting, over the recipe's; repeatable")]
Steps = Annotated[int | None, typer.Option(help="over the recipe's loop.steps", show_default=False)]
Out = Annotated[str | None, typer.Option("-o", "--out", help="run directory, over loop.out", show_default=False)]
Resume = Annotated[bool, typer.Option("--resume", help="continue the run in -o where it stopped")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="print the resolved recipe and stop")]


@command
def loop(recipe: Recipe = None, *, out: Out = None, steps: Steps = None, settings: Override = None,
         resume: Resume = False, dry_run: DryRun = False, console: Console) -> None:
    """Rollout, verify, train, recycle and train again, with evaluations before and after. Killed at any instant, the
    same command with --resume continues; the files are those of a run that was never killed.

    sparkcli loop recipes/quickstart.toml -o runs/first
    """
    if recipe is None and resume:
        recipe = str(Path(resolve(LoopConfig, {"out": out}, os.environ, {}).out) / "recipe.toml")
    sections: dict[str, Any] = read_recipe(recipe) if recipe else {}
    environ = _lay_over(sections, settings or [], os.environ)
    from sparkcli.run.settings import Settings

    resolved = Settings.of(sections, environ, {"steps": steps, "out": out})
    if dry_run:
        from sparkcli.files.recipe import write_recipe

        print(write_recipe(resolved.sections()), end="")
        return
    resolved.check_complete()
    from sparkcli.run.loop import run
    from sparkcli.run.watch import watching

    with watching(terminal=console.terminal, quiet=console.quiet, steps=resolved.loop.steps) as watcher:
        run(resolved, watcher, resume=resume)


def _lay_over(sections: dict[str, Any], overrides: list[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Puts `--set` into the sections of a recipe; returns the environment without the variables they outrank."""
    check_recipe(sections)
    left = dict(environ)
    for text in overrides:
        name, equals, value = text.partition("=")
        section, dot, path = name.partition(".")
        key, _, inner = path.partition(".")
        if not equals or not dot:
            raise UsageError(f"--set {text!r}: expected SECTION.KEY=VALUE, e.g. --set train.lr=1e-4")
        if section not in SECTIONS:
            raise UsageError(f"--set {text!r}: unknown section{nearest(section, SECTIONS)}")
        cls = SECTIONS[section]
        keys = [f.name for f in fields(cls)]
        if key not in keys or (inner and field_type(cls, key)[0] is not dict):
            raise UsageError(f"--set {text!r}: unknown key{nearest(key, keys)}")
        if inner:  # one entry of a mapping: the others stay as they are
            new = {**(getattr(resolve(cls, {}, left, sections), key) or {}), inner: literal(value)}
        else:
            new = parse_text(cls, key, value, f"--set {name}")
        sections.setdefault(section, {})[key] = new
        left.pop(f"SPARKCLI_{section}_{key}".upper(), None)
    return left
