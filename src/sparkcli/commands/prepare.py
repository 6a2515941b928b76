"""`prepare`: foreign rows in, prompts out. Streams, unless it shuffles."""

from typing import Annotated

import typer

from sparkcli.commands.console import Console
from sparkcli.commands.options import Out, command
from sparkcli.config import PrepareConfig
from sparkcli.files.jsonl import Output

Source = Annotated[str, typer.Argument(help="file (.json, .jsonl, .parquet, .csv, also .gz and .zst), hub dataset id, "
                                            "builtin:tiny-math, or - for JSON Lines", metavar="SRC")]


@command
def prepare(source: Source, *, out: Out = "-", config: PrepareConfig, console: Console) -> None:
    """Knows the layouts of GSM8K, TRL, verl, OpenRLHF, SPARK and MATH; --map names the columns of others.

    sparkcli prepare openai/gsm8k --split train --limit 1000 > prompts.jsonl
    """
    from sparkcli.sources.prepare import prepare as prompts_of

    total = 0
    with Output(out, resume=None) as sink, console.progress("prepare", config.limit, records=out) as advance:
        for prompt in prompts_of(source, config, console.say):
            sink.write(prompt)
            advance(1)
            total += 1
    console.say(f"{total} prompts")
