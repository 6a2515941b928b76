"""One timed run of one side, in a process of its own: `python -m sides.sampling.worker SIDE JOB OUT`.

A side is a class: its constructor loads the model, `sample(job)` returns each prompt's completions in order. A first
call warms up: on CUDA the whole job, elsewhere few prompts. Inside the clock is the second, with another seed.
"""

import importlib
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import orjson
import torch
from inputs.sampling import Job

WARM_UP = 4
"""Prompts of the warm-up on a CPU, and `WARM_UP_TOKENS` each."""
WARM_UP_TOKENS = 8


@dataclass(frozen=True)
class Completion:
    """What one sample emitted, the end marker included."""

    token_ids: list[int]
    logprobs: list[float] | None
    """None from a side that does not tell."""


Groups = list[list[Completion]]
"""The completions of each prompt."""


class Side(Protocol):
    """A sampler with a model."""

    name: str
    """Its name and version."""

    def __init__(self, job: Job) -> None: ...

    def sample(self, job: Job) -> Groups:
        """Completions of the job's prompts."""
        ...


def main(name: str, job_file: str, out: str) -> None:
    """Writes the seconds and what was sampled."""
    job = Job.load(Path(job_file))
    side: Side = importlib.import_module(f"sides.sampling.{name}").Sampler(job)
    side.sample(warm_up(job))
    started, started_cpu = time.perf_counter(), time.process_time()
    groups = side.sample(job)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - started_cpu
    found: dict[str, Any] = {"seconds": seconds, "cpu_seconds": cpu_seconds, "name": side.name,
                             "device": accelerator(job), "threads": torch.get_num_threads(),
                             "groups": [[asdict(completion) for completion in group] for group in groups]}
    Path(out).write_bytes(orjson.dumps(found))


def accelerator(job: Job) -> str | None:
    """Its name; None on a CPU."""
    return torch.cuda.get_device_name() if job.device == "cuda" else None


def warm_up(job: Job) -> Job:
    """What runs before the clock starts."""
    if job.device == "cuda":
        return replace(job, seed=job.seed + 1)
    return replace(job, texts=job.texts[:WARM_UP], prompts=job.prompts[:WARM_UP], max_tokens=WARM_UP_TOKENS)


if __name__ == "__main__":
    main(*sys.argv[1:])
