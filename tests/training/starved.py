"""One phase of a model in `argv[1]`, written to `argv[2]`, in a process that may grow by `argv[3]` MiB only.

0: freely. `argv[4]`: tokens of each completion. Standard output: the number of micro-batches.
"""

import logging
import resource
import sys
from pathlib import Path

from sparkcli.config import ModelConfig, TrainConfig
from sparkcli.errors import SparkError
from sparkcli.models.policy import load
from sparkcli.records import Scored, Verdict
from sparkcli.training.memory import MIB
from sparkcli.training.step import Trainer

CONFIG = TrainConfig(method="full", updates=1, lr=1e-2)


def records(length: int, groups: int = 16) -> list[Scored]:
    """Groups of four samples with a prompt of 40 tokens."""
    return [Scored(id=f"p{g}", prompt="?", sample=n, samples=4, completion="?", prompt_token_ids=tuple(range(3, 43)),
                   token_ids=tuple(3 + (g * 7 + n + t * t) % 40 for t in range(length)), logprobs=(-4.0,) * length,
                   verdict=Verdict(status="wrong", verifier="exact"), reward=float(n % 2))
            for g in range(groups) for n in range(4)]


def limit_growth(mebibytes: int) -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + mebibytes * MIB,) * 2)


def main(model: str, out: str, mebibytes: int, length: int) -> None:
    logging.basicConfig(format="%(levelname)s %(message)s")
    trainer = Trainer(load(ModelConfig(name=model, device="cpu")), CONFIG)
    trainer.probe(records(2, groups=1))  # whatever is made once is made by now
    if mebibytes:
        limit_growth(mebibytes)
    try:
        metrics = trainer.step(records(length))
    except SparkError as error:
        sys.exit(str(error))
    trainer.save(Path(out))
    print(metrics["micro_batches"])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
