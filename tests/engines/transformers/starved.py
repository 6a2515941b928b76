"""Samples of a model in `argv[1]`, token ids to standard output, in a process that may grow by `argv[2]` MiB only.

0: freely.
"""

import json
import logging
import sys

from tests.training.starved import limit_growth

from sparkcli.config import ModelConfig, RolloutConfig
from sparkcli.engines import open_engine
from sparkcli.records import Prompt

PROMPTS = [Prompt(id=str(number), prompt=f"{number} + {number} = ?" * 6) for number in range(48)]


def main(model: str, mebibytes: int) -> None:
    logging.basicConfig(format="%(levelname)s %(message)s")
    engine = open_engine(ModelConfig(name=model, device="cpu"))
    list(engine.sample(PROMPTS, RolloutConfig(samples=1, max_tokens=2, batch_size=1)))  # what is made once is made
    if mebibytes:
        limit_growth(mebibytes)
    groups = list(engine.sample(PROMPTS, RolloutConfig(samples=32, max_tokens=300, batch_size=2048)))
    print(json.dumps([[rollout.token_ids for rollout in group] for group in groups]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
