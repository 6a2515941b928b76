"""The engine of a command that samples."""

import contextlib
from collections.abc import Iterator

from sparkcli.commands.console import Console
from sparkcli.config import ModelConfig, RolloutConfig, SamplingConfig, ServerConfig
from sparkcli.engines.base import Engine


@contextlib.contextmanager
def opened(model: ModelConfig, sampling: SamplingConfig, server: ServerConfig, console: Console) -> Iterator[Engine]:
    """The engine that the settings ask for; people are told which one `auto` takes, and why."""
    from sparkcli.engines import choose, open_engine

    with contextlib.closing(open_engine(model, sampling, server)) as engine:
        if model.engine == "auto":
            console.say("engine: {} ({})".format(*choose(model, server)))
        yield engine


def together(model: ModelConfig, config: RolloutConfig, server: ServerConfig) -> int:
    """Prompts in whose multiples a partial output is kept. What transformers computes depends, in its last digits, on
    the prompts beside it: whole windows make a continued run the same to the byte. Other engines keep each prompt."""
    from sparkcli.engines import choose
    from sparkcli.engines.base import window

    return window(config) if choose(model, server)[0] == "transformers" else 1
