"""`prepare`: foreign rows in, prompts out. Streams, unless it shuffles."""

from typing import Annotated

import typer

from sparkcli.commands.console import Console
from sparkcli.commands.options import Out, command
from sparkcli.config import PrepareConfig
from sparkcli.errors import InputError
from sparkcli.files.jsonl import Output

Source = Annotated[str, typer.Argument(
    help="file (.json, .jsonl, .parquet, .csv, also .gz and .zst), data set in a folder or on the hub, builtin:NAME, "
         "or - for JSON Lines", metavar="SRC")]


@command
def prepare(source: Source, *, out: Out = "-", config: PrepareConfig, console: Console) -> None:
    """Knows the layouts of GSM8K, TRL, verl, OpenRLHF, SPARK, MATH, MathVision, MMMU and their like; --map names the
    columns of others (question, answer, id, images).

    Images are files, data URIs, bytes in a table, or, where allowed, URLs. Each is looked at. They stand where the
    question says <image> or <image 1>, else before it. Options that the question lacks are written after it.

    sparkcli prepare openai/gsm8k --split train --limit 1000 > prompts.jsonl
    """
    from sparkcli.sources.prepare import prepare as prompts_of

    total, unanswered, skipped = 0, 0, 0

    def skip(error: InputError) -> None:
        nonlocal skipped
        skipped += 1
        console.warn(f"skipped: {error}")

    with Output(out, resume=None) as sink, console.progress("prepare", config.limit, records=out) as advance:
        for prompt in prompts_of(source, config, console.say, out=out, skipped=skip):
            sink.write(prompt)
            advance(1)
            total += 1
            unanswered += prompt.answer is None and prompt.verifier is None
    golds = f", {unanswered} of them without a gold answer" if unanswered else ""
    console.say(f"{total} prompts{golds}{f'; {skipped} rows skipped' if skipped else ''}")
