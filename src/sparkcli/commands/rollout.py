"""`rollout`: prompts in, sampled completions out. Streams group by group."""

from contextlib import closing
from typing import Annotated

import typer

from sparkcli.commands.console import Console
from sparkcli.commands.options import Out, Records, Resume, command
from sparkcli.config import ModelConfig, RolloutConfig
from sparkcli.errors import SparkError
from sparkcli.files.jsonl import Output, read
from sparkcli.records import Prompt

Tensors = Annotated[str | None, typer.Option(help="safetensors file for token ids and log-probs; unset: inline",
                                             metavar="FILE", show_default=False)]


@command
def rollout(prompts: Records = "-", *, out: Out = "-", resume: Resume = False, tensors: Tensors = None,
            model: ModelConfig, config: RolloutConfig, console: Console) -> None:
    """Token ids and log-probs are recorded as drawn, so that train-step needs no tokenizer and no second pass.

    sparkcli rollout prompts.jsonl -m Qwen/Qwen2.5-1.5B-Instruct -n 8 | sparkcli verify > scored.jsonl
    """
    from sparkcli.engines import open_engine
    from sparkcli.files.tensors import SideFile

    failed = total = 0
    side = SideFile(tensors)
    with (Output(out, resume=resume) as sink, closing(open_engine(model)) as engine,
          console.progress("rollout") as advance):
        try:
            for group in engine.sample(sink.skip_done(read(prompts, Prompt)), config):
                for ready in side.add(group):
                    sink.write_group(ready)
                advance(len(group))
                total += 1
                failed += group[0].finish_reason == "error"
        finally:
            for ready in side.flush():
                sink.write_group(ready)
    if failed:
        console.say(f"sparkcli: warning: {failed} of {total} prompts could not be sampled; see their `error`")
    if total and failed == total:
        raise SparkError(f"no prompt could be sampled; the last error: {group[0].error}")
