"""Where a run's prompts come from."""

from collections.abc import Iterator

from sparkcli.config import PrepareConfig
from sparkcli.records import Prompt
from sparkcli.run.settings import Settings
from sparkcli.run.state import RunFolder
from sparkcli.sources.prepare import prepare


def prompts_from(source: str, folder: RunFolder, settings: Settings, *, limit: int | None,
                 seed: int) -> Iterator[Prompt]:
    """The prompts of a source, as `prepare` makes them; images that are no files are kept in the run.

    Raises:
        UsageError, InputError: see `prepare`.
    """
    return prepare(source, PrepareConfig(limit=limit, seed=seed, images=str(folder.images),
                                         allow_remote_images=settings.model.allow_remote_images))


def check_sources(folder: RunFolder, settings: Settings) -> None:
    """Reads a first prompt of each held-out source, so that a wrong name is told before the work begins.

    Raises:
        UsageError: no such source.
        InputError: its first row cannot be read.
    """
    for source in filter(None, (settings.eval.prompts, settings.eval.scaling)):
        next(prompts_from(source, folder, settings, limit=1, seed=settings.eval.seed), None)
