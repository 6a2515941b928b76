"""What samples completions: the seam between the method and any sampler."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from sparkcli.config import RolloutConfig
from sparkcli.records import Prompt, Rollout

WINDOW_BATCHES = 4
"""Batches whose prompts are sorted together; results of a window come out together."""


def window(config: RolloutConfig) -> int:
    """Prompts that an engine takes in together. Floating point makes log-probs depend on what shares a batch, so work
    that goes on at a multiple of this gives the same bytes as work that never stopped."""
    return max(1, WINDOW_BATCHES * config.batch_size // config.samples)


class Engine(Protocol):
    """A sampler that holds one policy. Every engine passes the suite in `tests/engines/contract.py`."""

    def sample(self, prompts: Iterable[Prompt], config: RolloutConfig) -> Iterator[list[Rollout]]:
        """One group of `config.samples` rollouts per prompt, in the order of the prompts, as they are finished.

        A prompt that cannot be sampled yields one rollout with `finish_reason` `error` and the others go on.
        """
        ...

    def load_policy(self, directory: Path | None) -> None:
        """From now on samples the policy in `directory`; None is the bare model.

        Raises:
            UsageError: the directory is not a whole policy, or not one of this model.
        """
        ...

    def rest(self) -> None:
        """Gives up what memory of the device it can, for a trainer there, until it is asked for samples again."""
        ...

    def close(self) -> None:
        """Releases what the engine holds; it cannot be used afterwards."""
        ...
