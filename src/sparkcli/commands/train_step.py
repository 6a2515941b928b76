"""`train-step`: scored rollouts in, a new policy directory out. Reads all of its input first."""

from typing import Annotated

import orjson
import typer

from sparkcli.commands.console import Console
from sparkcli.commands.options import Records, command
from sparkcli.config import ModelConfig, TrainConfig
from sparkcli.files.jsonl import read
from sparkcli.files.tensors import inline
from sparkcli.records import Scored

Directory = Annotated[str, typer.Option("-o", "--out", help="policy directory to write", show_default=False)]


@command
def train_step(scored: Records = "-", *, out: Directory, model: ModelConfig, config: TrainConfig,
               console: Console) -> None:
    """Metrics go to standard output as JSON. The optimiser's state travels in the directory: give the last one as --policy to go on from it.

    sparkcli train-step scored.jsonl -m $M --policy policy/1 -o policy/2
    """
    from pathlib import Path

    from sparkcli.models.policy import load
    from sparkcli.training.step import Trainer

    records = list(inline(read(scored, Scored)))
    trainer = Trainer(load(model), config)
    metrics = trainer.step(records)
    trainer.save(Path(out))
    print(orjson.dumps(metrics).decode(), flush=True)
    if metrics["updates"] == 0:
        console.say(f"sparkcli: warning: no group has both better and worse samples: no update, {out} equals its parent")
