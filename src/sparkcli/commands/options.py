"""From config dataclasses to command-line options.

A command is a plain function. `command` reads its parameters: one annotated with a config class becomes that class's
flags and arrives resolved (flag, environment, recipe, default); one annotated `Console` arrives as what -q and -v
make of it, which every command has; every other parameter is typer's own business.
"""

import functools
import inspect
import os
import re
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from sparkcli.commands.boundary import guarded
from sparkcli.commands.console import Console
from sparkcli.config import SECTIONS, ModelConfig, field_choices, field_type, flag_names, resolve
from sparkcli.files.recipe import read_recipe

_FILE = "JSON Lines, also .gz and .zst; - is standard input"
Prompts = Annotated[str, typer.Argument(help=_FILE, metavar="PROMPTS")]
Rollouts = Annotated[str, typer.Argument(help=_FILE, metavar="ROLLOUTS")]
ScoredRollouts = Annotated[str, typer.Argument(help=_FILE, metavar="SCORED")]
Out = Annotated[str, typer.Option("-o", "--out", metavar="FILE",
                                  help="file to write, also .gz and .zst; - is standard output")]
Resume = Annotated[bool, typer.Option("--resume", help="continue the partial output of an interrupted run")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="read the input, say what would be done, and stop")]

HELP_FLAGS = ["-h", "--help"]
STYLE: dict[str, Any] = {"pretty_exceptions_enable": False, "rich_markup_mode": None,
                         "context_settings": {"help_option_names": HELP_FLAGS, "max_content_width": 110}}
"""How programs look: plain help, which starts in half the time and keeps flags whole on 80 columns."""

CONFIGS = frozenset(SECTIONS.values())
_RECIPE = typer.Option("--recipe", help="TOML file whose sections give these settings", show_default=False)
_QUIET = typer.Option("-q", "--quiet", help="errors only")
_VERBOSE = typer.Option("-v", "--verbose", help="more messages; tracebacks of errors")


def command(function: Callable[..., None]) -> Callable[..., None]:
    """`function` as typer can register it."""
    taken = inspect.signature(function).parameters
    configs = {name: p.annotation for name, p in taken.items() if p.annotation in CONFIGS}
    console = {name for name, p in taken.items() if p.annotation is Console}
    own = [p for name, p in taken.items() if name not in configs and name not in console]

    @functools.wraps(function)
    def run(**given: Any) -> None:
        screen = Console(quiet=given.pop("quiet"), verbose=given.pop("verbose"))
        with guarded(verbose=screen.verbose):
            recipe = read_recipe(path) if configs and (path := given.pop("recipe", None)) else {}
            settled = {name: resolve(cls, {f.name: given.pop(_parameter(cls, f.name)) for f in fields(cls)},
                                     os.environ, recipe) for name, cls in configs.items()}
            for name, config in settled.items():
                if isinstance(config, ModelConfig):
                    from sparkcli.models.locate import on_base

                    settled[name] = on_base(config)
            function(**given, **settled, **dict.fromkeys(console, screen))

    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    parameters += [_option(cls, f) for cls in configs.values() for f in fields(cls)]
    if configs:
        parameters.append(_keyword("recipe", Annotated[str | None, _RECIPE], None))
    parameters += [_keyword("quiet", Annotated[bool, _QUIET], False),
                   _keyword("verbose", Annotated[bool, _VERBOSE], False)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


class Grouped(TyperCommand):
    """A command whose help has its options under headings: its own first, then those of each config."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Called where help is printed."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            line = parameter.get_help_record(ctx)
            own = "Arguments" if parameter.param_type_name == "argument" else "Options"
            if line is not None:
                sections.setdefault(HEADINGS.get(parameter.name or "", own), []).append(line)
        for heading, lines in sections.items():
            with formatter.section(heading):
                formatter.write_dl(lines)


def add(app: typer.Typer, name: str, summary: str, function: Callable[..., None]) -> None:
    """Registers a command: its help is the summary, then the docstring, whose examples and tables keep their lines."""
    details = inspect.cleandoc(function.__doc__ or "")
    details = re.sub(r"\n\n(?=sparkcli )", "\n\n\b\n    ", details)  # \b: not rewrapped
    details = re.sub(r"\n\n(?=    \S)", "\n\n\b\n", details)
    app.command(name, cls=Grouped, help=f"{summary}\n\n{details}", short_help=summary)(function)


def _parameter(cls: Any, name: str) -> str:
    return f"{cls.section}_{name}"


def _headings() -> dict[str, str]:
    """The heading of each config's options, by parameter; a config's `headings` begin at the fields they name."""
    found = {}
    for cls in SECTIONS.values():
        heading = cls.section.capitalize()  # type: ignore[attr-defined]
        for f in fields(cls):
            heading = getattr(cls, "headings", {}).get(f.name, heading)
            found[_parameter(cls, f.name)] = heading
    return found


def _option(cls: Any, f: Any) -> inspect.Parameter:
    """The option of one config field. Its value is None where the flag is absent; help shows the default."""
    kind, _ = field_type(cls, f.name)
    flags = flag_names(f)
    if kind is bool:
        flags[-1] += f"/--no-{flags[-1][2:]}"
    choices = "|".join(field_choices(cls, f.name))
    metavar = "KEY=VALUE" if kind is dict else "<str>" if kind is tuple else choices or None
    details = typer.Option(*flags, help=_help(f), show_default=False, metavar=metavar)
    value = list[str] if kind in (tuple, dict) else kind
    return _keyword(_parameter(cls, f.name), Annotated[value | None, details], None)


def _help(f: Any) -> str:
    """The help text with the default, unless that says nothing."""
    if f.default in (None, (), ""):
        return str(f.metadata["help"])
    if isinstance(f.default, bool):
        return f"{f.metadata['help']}  [{'on' if f.default else 'off'}]"
    shown = ",".join(f.default) if isinstance(f.default, tuple) else f.default
    return f"{f.metadata['help']}  [{shown}]"


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


HEADINGS = _headings()
