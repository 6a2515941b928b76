"""The engine of a command that samples."""

import contextlib
from collections.abc import Iterator

from sparkcli.commands.console import Console
from sparkcli.config import ModelConfig, SamplingConfig, ServerConfig
from sparkcli.engines.base import Engine


@contextlib.contextmanager
def opened(model: ModelConfig, sampling: SamplingConfig, server: ServerConfig, console: Console) -> Iterator[Engine]:
    """The engine that the settings ask for; people are told which one `auto` takes, and why."""
    from sparkcli.engines import choose, open_engine

    if model.engine == "auto":
        console.say("engine: {} ({})".format(*choose(model, server)))
    with contextlib.closing(open_engine(model, sampling, server)) as engine:
        yield engine
