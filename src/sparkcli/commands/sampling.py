"""The engine of a command that samples."""

import contextlib
from collections.abc import Iterable, Iterator

from sparkcli.commands.console import Console
from sparkcli.config import ModelConfig, RolloutConfig, SamplingConfig, ServerConfig
from sparkcli.engines.base import Engine
from sparkcli.errors import SparkError
from sparkcli.records import Prompt, Rollout, UniqueIds


@contextlib.contextmanager
def opened(model: ModelConfig, sampling: SamplingConfig, server: ServerConfig, console: Console, *,
           only_text: bool = False) -> Iterator[Engine]:
    """The engine that the settings ask for; people are told which one `auto` takes, and why.

    Args:
        only_text: neither tokens nor log-probs are kept, so that they need not be exact.
    """
    from sparkcli.engines import choose, open_engine

    if only_text and choose(model, server)[0] == "transformers":
        from sparkcli.models.precision import for_text

        asked, model = model, for_text(model)
        if model.dtype != asked.dtype:
            console.say(f"weights: {model.dtype}, as they are stored; --dtype float32 rounds less and is slower here")
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


class Questions:
    """One completion for each prompt that a command makes of its records. Such prompts are written nowhere, so what
    could not be sampled is told."""

    def __init__(self, engine: Engine, config: RolloutConfig) -> None:
        self._engine, self._config = engine, config
        self._total = self._failed = 0
        self._first: str | None = None

    def __call__(self, prompts: Iterable[Prompt]) -> Iterator[list[Rollout]]:
        """See `method.judging.Sample`."""
        for group in self._engine.sample(prompts, self._config):
            self._total += 1
            self._failed += group[0].finish_reason == "error"
            self._first = self._first or group[0].error
            yield group

    def report(self, console: Console) -> None:
        """See `tell_failures`."""
        tell_failures(self._total, self._failed, self._first, console)


def tell_failures(total: int, failed: int, first: str | None, console: Console) -> None:
    """Warns of prompts that could not be sampled. Raises SparkError where that is all."""
    if total and failed == total:
        raise SparkError(f"no prompt could be sampled; the first error: {first}")
    if failed:
        console.warn(f"{failed} of {total} prompts could not be sampled; the first error: {first}")


def tell_renamed(unique: UniqueIds, console: Console) -> None:
    """Warns of prompts that shared an id."""
    if unique.renamed:
        console.warn(f"{unique.renamed} prompts have the id of an earlier one; they are sampled apart, as "
                     f"{unique.first!r} and the like")
