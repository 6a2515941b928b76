"""One of several processes that train together: runs the jobs of a file, one after the other.

    RANK=… LOCAL_RANK=… WORLD_SIZE=… MASTER_ADDR=… MASTER_PORT=… python process_worker.py JOBS.json

A job: `model`, `policy` (or null), `records`, `out` (policy directory), `shards`, and `config`, the settings that are
not defaults. Metrics go to `OUT.RANK.json`.
"""

import json
import sys
from pathlib import Path
from typing import Any

from sparkcli.config import ModelConfig, TrainConfig
from sparkcli.files.jsonl import read
from sparkcli.models.policy import load
from sparkcli.records import Scored
from sparkcli.training.processes import Processes
from sparkcli.training.step import Trainer


def run(job: dict[str, Any], processes: Processes) -> None:
    policy = load(ModelConfig(name=job["model"], policy=job["policy"], device="cpu"))
    trainer = Trainer(policy, TrainConfig(**job["config"]), processes)
    metrics = trainer.step(list(read(job["records"], Scored)))
    trainer.save(Path(job["out"]))
    Path(f"{job['out']}.{processes.rank}.json").write_text(json.dumps(metrics))


def main() -> None:
    from accelerate import FullyShardedDataParallelPlugin

    copies = Processes.join("cpu")
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
    shards = Processes(copies.rank, copies.count, copies.device, plugin)
    for job in json.loads(Path(sys.argv[1]).read_text()):
        run(job, shards if job["shards"] else copies)
    copies.leave()


if __name__ == "__main__":
    main()
