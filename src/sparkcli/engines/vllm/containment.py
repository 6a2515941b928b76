"""Keeps the process around vLLM as it was: people's stderr, the records' stdout, the trainer's torch."""

import contextlib
import ctypes
import logging
import os
import random
import sys
import types
import warnings
from collections.abc import Iterator

import numpy as np
import torch

ENVIRONMENT = types.MappingProxyType({
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # its scheduler in this process: batches do not depend on the clock
    "VLLM_LOGGING_LEVEL": "WARNING", "VLLM_LOGGING_STREAM": "ext://sys.stderr",  # stdout is for records
    "VLLM_NO_USAGE_STATS": "1",
})
"""What vLLM is told by variables, unless the user has set them."""

TAKEN_OVER = ("LD_LIBRARY_PATH", "LD_PRELOAD", "LOCAL_WORLD_SIZE", "NUMEXPR_MAX_THREADS", "OMP_NUM_THREADS")
"""Variables that vLLM sets for processes of its own, and that ours would take over."""


def set_environment() -> None:
    """Sets what vLLM reads as it is imported."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def contained() -> Iterator[None]:
    """Whatever vLLM changes of this process at start is put back: random numbers, torch's threads, dtype and precision,
    variables that processes started later would take over; and what is printed goes to stderr."""
    variables = {name: os.environ.get(name) for name in TAKEN_OVER}
    numbers, drawn = random.getstate(), np.random.get_state()
    set_threads, threads, dtype = torch.set_num_threads, torch.get_num_threads(), torch.get_default_dtype()
    precision = torch.get_float32_matmul_precision()
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices), _stdout_on_stderr(), unwarned():
            yield
    finally:
        random.setstate(numbers)
        np.random.set_state(drawn)
        torch.set_num_threads = set_threads  # vLLM puts one there that only warns
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        torch.set_float32_matmul_precision(precision)
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _stdout_on_stderr() -> Iterator[None]:
    """Of this process and those started meanwhile; libraries in C++ (gloo) print as well."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(kept)


@contextlib.contextmanager
def unwarned() -> Iterator[None]:
    """Without warnings, of which a start has a dozen on a CPU; errors are raised.

    `VLLM_LOGGING_LEVEL` brings those of vLLM's log back.
    """
    before = logging.root.manager.disable
    quiet = ENVIRONMENT["VLLM_LOGGING_LEVEL"]
    if os.environ.get("VLLM_LOGGING_LEVEL", quiet) == quiet:
        logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logging.disable(before)
