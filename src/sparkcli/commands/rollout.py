"""`rollout`: prompts in, sampled completions out. Streams group by group."""

from collections import Counter
from typing import Annotated

import orjson
import typer

from sparkcli.commands.console import Console
from sparkcli.commands.inputs import Inputs
from sparkcli.commands.options import DryRun, Out, Prompts, Resume, command
from sparkcli.commands.sampling import opened, tell_failures, together
from sparkcli.config import ModelConfig, RolloutConfig, ServerConfig
from sparkcli.files.jsonl import Output
from sparkcli.records import Prompt

Tensors = Annotated[str | None, typer.Option(help="safetensors file for token ids and log-probs; unset: inline",
                                             metavar="FILE", show_default=False)]


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
        plan(records, model, config, server)
        return
    reasons: Counter[str] = Counter()
    total, error = 0, None
    side = SideFile(tensors)
    kept = together(model, config, server)
    with (Output(out, resume=resume, together=kept) as sink, opened(model, config, server, console) as engine,
          console.progress("rollout", records=out) as advance):
        try:
            for group in engine.sample(sink.skip_done(records), config):
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
    report(total, reasons, error, console)


def plan(records: Inputs[Prompt], model: ModelConfig, config: RolloutConfig, server: ServerConfig) -> None:
    """Prints what a run on these prompts would do."""
    from sparkcli.engines import check_model

    check_model(model, server)
    count = sum(1 for _ in records)
    records.check()
    print(orjson.dumps({"prompts": count, "completions": count * config.samples,
                        "tokens_at_most": count * config.samples * config.max_tokens, "model": model.name,
                        "policy": model.policy, "engine": model.engine}).decode())


def report(total: int, reasons: Counter[str], error: str | None, console: Console) -> None:
    """Counts for people; an error if nothing could be sampled."""
    failed = reasons["error"]
    cut = f"; cut at --max-tokens: {reasons['length']}" if reasons["length"] else ""
    console.say(f"{reasons.total() - failed} completions for {total - failed} prompts{cut}")
    tell_failures(total, failed, error, console)
