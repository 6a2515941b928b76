"""Where a run begins or goes on: with which settings, which engine, which prompts. Nothing is written here
but images of prompts that are no files."""

from dataclasses import replace
from typing import Any

from sparkcli.engines import choose
from sparkcli.errors import UsageError
from sparkcli.files.recipe import read_recipe
from sparkcli.records import Prompt
from sparkcli.run.settings import Settings
from sparkcli.run.sources import prompts_from
from sparkcli.run.state import RunFolder, read_all


def begin(folder: RunFolder, settings: Settings, *, resume: bool) -> tuple[Settings, list[Prompt], str | None]:
    """What a run works with.

    Returns:
        The settings, with the engine by its name; the training prompts; why it is that engine, where that was not
        asked for by name or is another one than until now.

    Raises:
        UsageError: there is a run, and it is not to be continued, or cannot be with these settings; the engine cannot
            be opened, or not be given the policies that the run trains; there are too few prompts.
    """
    before = _before(folder, resume=resume)
    settings, why = _with_engine(settings, before.model.engine if before else "auto")
    if before:
        settings.continues(before, folder.recipe)
        done = folder.finished_steps()
        if settings.loop.steps < done:
            raise UsageError(f"{folder.path}: {done} steps are done already; --steps must be at least that, "
                             f"found {settings.loop.steps}")
    return settings, _prompts(folder, settings, before), why


def _before(folder: RunFolder, *, resume: bool) -> Settings | None:
    """The settings of the run that is continued; None for a new one."""
    if not folder.recipe.exists():
        return None
    if not resume:
        raise UsageError(f"{folder.path}: holds a run already; --resume continues it, or choose another -o")
    return Settings.of(read_recipe(str(folder.recipe)), {}, {})


def _with_engine(settings: Settings, was: str) -> tuple[Settings, str | None]:
    """The settings with the engine by its name, and why it is that one where people should be told. `auto` keeps the
    one that sampled until now, unless a server is given."""
    asked = settings.model.engine
    if asked == "auto" and was != "auto" and not settings.server.base_url:
        name, why = was, "as until now"
    else:
        name, why = choose(settings.model, settings.server)
    if name == "openai" and not settings.server.sync_adapters:
        raise UsageError("loop: a server must load the policy after each update, or the run would train on another's "
                         "samples; set server.sync_adapters = true (vLLM's servers, as `sparkcli serve` starts them)")
    is_other = was not in ("auto", name)
    told = f"{why}; until now {was}" if is_other else why if asked == "auto" else None
    chosen: Any = name
    return replace(settings, model=replace(settings.model, engine=chosen)), told


def _prompts(folder: RunFolder, settings: Settings, before: Settings | None) -> list[Prompt]:
    """The training prompts. A run keeps its own; only where more steps are wanted, the source is read on.

    Raises:
        UsageError: fewer prompts than one step needs, or the source is no longer what the run began with.
    """
    kept = read_all(folder.prompts, Prompt) if folder.prompts.exists() and before else []
    if kept and before and settings.loop.steps <= before.loop.steps:
        return kept
    size, source = settings.loop.prompts_per_step, settings.loop.prompts
    limit = settings.loop.steps * size
    prompts = list(prompts_from(source, folder, settings, limit=limit, seed=settings.loop.seed))
    if prompts[:len(kept)] != kept:
        raise UsageError(f"{source}: no longer begins with the prompts in {folder.prompts}; start anew with another -o")
    if len(prompts) < size:
        raise UsageError(f"{source}: {len(prompts)} prompts, but one step needs {size} (loop.prompts_per_step)")
    return prompts
