"""What a phase reports: means over tokens, sizes, and what the clock and the machine say."""

import contextlib
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from sparkcli.training.batches import MicroBatch, Way, work
from sparkcli.training.losses import Loss

MACHINE = ("seconds", "tokens_per_second", "peak_memory_mib")
"""Metrics that are the clock's and the machine's; all others depend on the input alone."""
TOKEN_MEANS = {"clipped_low": "clip_share_low", "clipped_high": "clip_share_high", "ratio": "ratio",
               "entropy": "entropy"}
"""Sums of a loss that are reported as means over the update's tokens, and their names then."""


LOSSES = tuple(f.name for f in fields(Loss))


def rows_of(losses: Iterable[Loss]) -> Tensor:
    """The scalars of losses, a row for each, as float32 on their device."""
    rows = [torch.stack([getattr(loss, name).detach().float() for name in LOSSES]) for loss in losses]
    return torch.stack(rows) if rows else torch.zeros(0, len(LOSSES))


@dataclass
class Tally:
    """One update, added up over all processes."""

    samples: int
    """That its mean is over, those without a gradient too."""
    lr: float
    batches: Sequence[MicroBatch]
    rows: Tensor = field(repr=False)
    """A loss in each row, as `rows_of` has them."""
    grad_norm: float = 0.0
    """Before clipping; known once the update is made."""

    def means(self) -> dict[str, float]:
        """The update's values: the loss and its parts as weighted, shares and means over the tokens it computed."""
        columns = dict(zip(LOSSES, self.rows.double().T.tolist(), strict=True))
        tokens = sum(batch.emitted for batch in self.batches)
        sums = {name: math.fsum(values) for name, values in columns.items()}
        shares = {name: sums[column] / tokens for column, name in TOKEN_MEANS.items()}
        return {"loss": sums["total"], "policy_loss": sums["policy"], "kl": sums["kl"],
                "clip_share": shares["clip_share_low"] + shares["clip_share_high"], **shares,
                "ratio_max": max(columns["ratio_max"]), "grad_norm": self.grad_norm, "lr": self.lr}


MEANS = ("loss", "policy_loss", "kl", "clip_share", *TOKEN_MEANS.values(), "ratio_max", "grad_norm", "lr")


def phase_metrics(updates: Sequence[Tally], way: Way) -> dict[str, Any]:
    """A phase's values: means over its updates, the largest ratio, the last rate, and sizes; null without an update."""
    means = [update.means() for update in updates]
    values: dict[str, Any] = dict.fromkeys(MEANS)
    if means:
        values = {name: math.fsum(mean[name] for mean in means) / len(means) for name in MEANS}
        values |= {"ratio_max": max(mean["ratio_max"] for mean in means), "lr": means[-1]["lr"]}
    batches = [batch for update in updates for batch in update.batches]
    done = work(batches, way)
    return {"updates": len(updates), **values, "samples": sum(update.samples for update in updates),
            "micro_batches": len(batches), "tokens": done.tokens, "shared_tokens": done.shared,
            "padding_share": done.padding, "attention_padding_share": done.attention_padding}


class Stopwatch:
    """Seconds by part, on a device whose work may lag behind the calls."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Adds the time spent within to `part`."""
        start = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - start

    def metrics(self, updates: Sequence[Tally]) -> dict[str, Any]:
        """The metrics of `MACHINE`."""
        tokens = sum(batch.tokens for update in updates for batch in update.batches)
        spent = math.fsum(self.seconds.values())
        return {"seconds": self.seconds, "tokens_per_second": tokens / spent if spent else None}
