"""`rollout`: prompts in, sampled completions out. Streams group by group."""

import statistics
from array import array
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any

import orjson
import typer

from sparkcli.commands.console import Console
from sparkcli.commands.inputs import Inputs
from sparkcli.commands.options import DryRun, Out, Prompts, Resume, command
from sparkcli.commands.sampling import opened, tell_failures, tell_renamed, together
from sparkcli.config import ModelConfig, RolloutConfig, ServerConfig
from sparkcli.errors import InputError
from sparkcli.files.jsonl import Output
from sparkcli.records import Prompt, UniqueIds

Tensors = Annotated[str | None, typer.Option(help="safetensors file for token ids and log-probs; unset: inline",
                                             metavar="FILE", show_default=False)]

NAMED = 10
"""Prompts that cannot be sampled of which a dry run tells why."""


@command
def rollout(prompts: Prompts = "-", *, out: Out = "-", resume: Resume = False, tensors: Tensors = None,
            dry_run: DryRun = False, model: ModelConfig, config: RolloutConfig, server: ServerConfig,
            console: Console) -> None:
    """Token ids and log-probs are recorded as drawn, so that train-step needs no tokenizer and no second pass.

    sparkcli rollout prompts.jsonl -m Qwen/Qwen2.5-1.5B-Instruct -n 8 | sparkcli verify > scored.jsonl
    """
    from sparkcli.files.tensors import SideFile

    if config.top_p < 1 or config.top_k > 0:
        console.warn("top-p below 1 and top-k above 0 bias the importance ratio; fine for answers, not for training")
    records = Inputs(prompts, Prompt)
    if dry_run:
        plan(records, model, config, server, console)
        return
    reasons: Counter[str] = Counter()
    total, error = 0, None
    side, unique = SideFile(tensors), UniqueIds()
    kept = together(model, config, server)
    with (Output(out, resume=resume, together=kept) as sink, opened(model, config, server, console) as engine,
          console.progress("rollout", records=out) as advance):
        try:
            for group in engine.sample(sink.skip_done(map(unique, records)), config):
                for ready in side.add(group):
                    sink.write_group(ready)
                advance(len(group))
                total += 1
                reasons.update(str(sample.finish_reason) for sample in group)
                error = error or group[0].error
        finally:
            for ready in side.flush():
                sink.write_group(ready)
        records.check()
    tell_renamed(unique, console)
    report(total, reasons, error, console)


def plan(records: Inputs[Prompt], model: ModelConfig, config: RolloutConfig, server: ServerConfig,
         console: Console) -> None:
    """Prints what a run on these prompts would do, each rendered as it would be; names those that could not be sampled.
    Where the model's files are not needed (the scripted engine, a server that no -m names), only their number."""
    from sparkcli.engines import check_model

    check_model(model, server)
    unique = UniqueIds()
    prompts = map(unique, records)
    read: dict[str, Any] = {}
    errors: list[str] = []
    if model.engine != "scripted" and model.name:
        count, read, errors = measure(prompts, model, config)
    else:
        count = sum(1 for _ in prompts)
    for error in errors[:NAMED]:
        console.warn(error)
    records.check()
    tell_renamed(unique, console)
    print(orjson.dumps({"prompts": count, "completions": count * config.samples,
                        "tokens_at_most": count * config.samples * config.max_tokens, **read, "model": model.name,
                        "policy": model.policy, "engine": model.engine}).decode(), flush=True)
    tell_failures(count, len(errors), next(iter(errors), None), console)


def measure(prompts: Iterable[Prompt], model: ModelConfig,
            config: RolloutConfig) -> tuple[int, dict[str, Any], list[str]]:
    """What the model makes of prompts, which are read one by one.

    Returns:
        Their number; their tokens (`prompt_tokens`), how many are longer than allowed or than the context (`too_long`),
        cannot be read (`refused`), or leave less room in the context than --max-tokens (`short_of_room`); and why those
        that cannot be sampled cannot.
    """
    from sparkcli.models.locate import model_folder
    from sparkcli.models.prompts import TooLongError, encode
    from sparkcli.models.reader import load_reader

    reader = load_reader(model_folder(model.name), model)
    count, too_long, fitting = 0, 0, 0
    lengths = array("q")
    errors: list[str] = []
    for prompt in prompts:
        count += 1
        try:
            length = len(encode(prompt, reader, config.max_prompt_tokens).token_ids)
        except InputError as error:
            errors.append(str(error))
            if isinstance(error, TooLongError):
                lengths.append(error.length)
                too_long += 1
        else:
            lengths.append(length)
            fitting += reader.room(length, config.max_tokens) == config.max_tokens
    tokens = {"min": min(lengths), "median": statistics.median(lengths), "max": max(lengths),
              "total": sum(lengths)} if lengths else None
    return count, {"prompt_tokens": tokens, "too_long": too_long, "refused": len(errors) - too_long,
                   "short_of_room": count - len(errors) - fitting}, errors


def report(total: int, reasons: Counter[str], error: str | None, console: Console) -> None:
    """Counts for people; an error if nothing could be sampled."""
    failed = reasons["error"]
    cut = f"; cut at --max-tokens: {reasons['length']}" if reasons["length"] else ""
    console.say(f"{reasons.total() - failed} completions for {total - failed} prompts{cut}")
    tell_failures(total, failed, error, console)
