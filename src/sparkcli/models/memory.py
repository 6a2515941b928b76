"""How memory that runs out is told."""

import gc

import torch

SIGNS = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc", "alloc_failed")
"""Parts of the messages by which allocators that raise a plain RuntimeError say it: torch's on a CPU, C++'s, cuBLAS."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on the host or on an accelerator."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in SIGNS)


def collect() -> None:
    """Gives back what nothing holds any more, on the host and on an accelerator."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
