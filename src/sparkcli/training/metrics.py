"""What a phase reports: token means, sizes, and the time of its parts."""

import contextlib
import math
import time
from collections.abc import Iterable, Iterator, Sequence

from torch import Tensor

from sparkcli.training.batches import MicroBatch
from sparkcli.training.losses import Loss


class Stopwatch:
    """Seconds by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Adds the time spent within to `part`."""
        start = time.perf_counter()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - start


def mean_values(totals: Sequence[tuple[Loss, Tensor]], emitted: int) -> dict[str, float]:
    """Token means over a mini-batch. `entropy` is estimated by −log p of the sampled tokens."""
    losses = [loss for loss, _ in totals]

    def mean(values: Iterable[Tensor]) -> float:
        return math.fsum(float(value) for value in values) / emitted

    return {"loss": mean(loss.total for loss in losses), "policy_loss": mean(loss.policy for loss in losses),
            "kl": mean(loss.kl for loss in losses), "clip_share": mean(loss.clipped for loss in losses),
            "ratio": mean(loss.ratio for loss in losses),
            "ratio_max": max(float(loss.ratio_max) for loss in losses),
            "entropy": mean(-logprobs for _, logprobs in totals)}


AVERAGED = ("loss", "policy_loss", "kl", "clip_share", "ratio", "entropy", "grad_norm")


def summary(updates: Sequence[dict[str, float]]) -> dict[str, float | int | None]:
    """A phase's values: means over its updates, the largest ratio, the last rate; null if there was no update."""
    if not updates:
        return {"updates": 0, **dict.fromkeys((*AVERAGED, "ratio_max", "lr"))}
    means = {name: math.fsum(values[name] for values in updates) / len(updates) for name in AVERAGED}
    return {"updates": len(updates), **means, "ratio_max": max(values["ratio_max"] for values in updates),
            "lr": updates[-1]["lr"]}


def sizes(minibatches: Sequence[Sequence[MicroBatch]]) -> dict[str, float | int | None]:
    """What the forward passes were given. `padding_share` is the share of padding in their rectangles of prompts and
    of completions; a packed pass spends it in attention alone."""
    batches = [batch for minibatch in minibatches for batch in minibatch]
    tokens, padded = sum(batch.tokens for batch in batches), sum(batch.padded for batch in batches)
    return {"samples": sum(len(batch.samples) for batch in batches), "tokens": tokens, "micro_batches": len(batches),
            "padding_share": 1 - tokens / padded if padded else None}
