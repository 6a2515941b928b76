"""Memory that runs out, and how much was used at most.

A token budget that is too large for the machine is halved until a forward pass and its backward pass fit. Nothing is
lost: the gradients of a half-done update are thrown away, and the update starts again. Its result does not depend on
how it is cut.
"""

import contextlib
import logging
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from sparkcli.errors import SparkError
from sparkcli.models.memory import collect, is_out_of_memory
from sparkcli.training.batches import MicroBatch, Part, Way, cost, micro_batches

log = logging.getLogger(__name__)

T = TypeVar("T")
MIB = 2**20


@contextlib.contextmanager
def fitting(what: str) -> Iterator[None]:
    """Within it, memory that runs out is told for people: nothing there can be cut smaller.

    Raises:
        SparkError: it ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise SparkError(f"out of memory in {what}; nothing was written; try --method lora, --load-in-4bit, or "
                         "--num-processes with --shard") from error


class Budget:
    """Tokens in one forward pass at most; halved whenever memory runs out, and never raised again."""

    def __init__(self, tokens: int, way: Way = "packed") -> None:
        self.tokens, self.way = tokens, way

    def spend(self, parts: Sequence[Part], compute: Callable[[MicroBatch], T],
              undo: Callable[[], None] = lambda: None) -> list[T]:
        """`compute` of each micro-batch that `parts` are cut into; all of them anew where memory runs out in one.

        Args:
            undo: forgets what the micro-batches before the failed one left behind: an update's gradients.

        Raises:
            SparkError: a single sample does not fit; it is named.
        """
        while True:
            results, failed = self._attempt(parts, compute)
            if failed is None:
                return results
            undo()
            self._halve(failed)

    def _attempt(self, parts: Sequence[Part], compute: Callable[[MicroBatch], T]) -> tuple[list[T], MicroBatch | None]:
        """The results, or the micro-batch that memory ran out in; the error, which holds tensors, is gone by then."""
        results: list[T] = []
        for batch in micro_batches(parts, self.tokens, self.way):
            try:
                results.append(compute(batch))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                log.debug("%s", error)
                return [], batch
        return results, None

    def _halve(self, failed: MicroBatch) -> None:
        """Makes sure that the failed micro-batch is cut the next time."""
        collect()
        if len(failed.samples) == 1:
            sample = failed.samples[0]
            raise SparkError(f"{sample.name}: out of memory on this sample alone, {failed.tokens} tokens; try "
                             "--gradient-checkpointing, shorter completions, or --load-in-4bit")
        self.tokens = max(1, min(self.tokens, cost(failed.parts, self.way)) // 2)
        log.warning("out of memory in a forward pass of %d tokens; going on with --tokens-per-batch %d",
                    failed.tokens, self.tokens)


def reset_peak(device: torch.device) -> None:
    """Makes `read_peak` forget what was used before; where the system cannot, the peak is the whole process's."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):  # no Linux, or a /proc that is mounted read-only
            Path("/proc/self/clear_refs").write_text("5")


def read_peak(device: torch.device) -> int | None:
    """Bytes used at most: tensors on a GPU; on a CPU the whole process's resident memory. None where unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type != "cpu":
        return None
    if Path("/proc/self/status").exists():
        return _counted("/proc/self/status", "VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free now, on a GPU or, on Linux, for processes on the CPU. None where unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return _counted("/proc/meminfo", "MemAvailable") if device.type == "cpu" else None


def _counted(path: str, name: str) -> int | None:
    """The bytes that a line `NAME: KIBIBYTES kB` tells, if the system has that file and line."""
    lines = Path(path).read_text().splitlines() if Path(path).exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)
