"""`train-step`: scored rollouts in, a new policy directory out. Reads all of its input first."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from sparkcli.commands.console import Console
from sparkcli.commands.launch import check_readable, is_first, launch, launched, take_part
from sparkcli.commands.options import DryRun, ScoredRollouts, command
from sparkcli.config import ModelConfig, TrainConfig
from sparkcli.errors import GateError, UsageError
from sparkcli.files.jsonl import read
from sparkcli.files.tensors import inline
from sparkcli.records import Rollout, Scored, Verdict, extend

Directory = Annotated[str | None, typer.Option("-o", "--out", help="policy directory to write", metavar="DIR",
                                               show_default=False)]
Probe = Annotated[bool, typer.Option("--probe", help="train nothing; report how far the rollouts' log-probs are from "
                                                     "the policy's own")]
NumProcesses = Annotated[int, typer.Option("--num-processes", min=1, help="processes of this machine that train "
                                                                               "together, one on each GPU")]
FailIfIdle = Annotated[bool, typer.Option("--fail-if-idle", help="exit with 4 and write no policy where there is "
                                                                 "nothing to learn from")]
Shard = Annotated[bool, typer.Option("--shard", help="cut weights and optimiser state over the processes (FSDP2)")]


@command
def train_step(scored: ScoredRollouts = "-", *, out: Directory = None, num_processes: NumProcesses = 1,
               shard: Shard = False, probe: Probe = False, fail_if_idle: FailIfIdle = False,
               dry_run: DryRun = False, model: ModelConfig, config: TrainConfig, console: Console) -> None:
    """Metrics go to standard output as JSON. The optimiser's state travels in the directory: give the last one
    as --policy to go on from it. Where no rewards differ there is nothing to learn from: a warning says why, and
    the policy written equals its parent, so that a pipeline goes on (--fail-if-idle: exit code 4, none is written).

    sparkcli train-step scored.jsonl -m $M --policy policy/1 -o policy/2

    What --loss names is set below by --advantage, --average, --clip, --clip-high and --constant-groups, where these
    are not given themselves:

        spark        group norm, mean over tokens, equal groups left out
        grpo         group norm, mean over each completion, then over these
        dr-grpo      no deviation, and the token limit in place of the length
        rloo         reward less the others' mean, one ratio per completion
        reinforce++  normed over all rewards of the call, mean over tokens
        dapo         spark, clipped at 0.8 and 1.28
        bnpo         group norm, mean over a group's tokens, then over groups
        gspo         grpo with a mean ratio per completion, clipped tightly
        cispo        spark, but log-probs weighted by a ratio cut at 5
    """
    from sparkcli.models.fingerprint import STATE_FILE
    from sparkcli.models.folders import check_replaceable
    from sparkcli.models.locate import check_named

    if out is None and not probe and not dry_run:
        raise UsageError("Missing option '-o' / '--out'; see sparkcli train-step --help")
    if out is not None:
        check_replaceable(Path(out), STATE_FILE)
    check_named(model.name)
    if (probe or dry_run) and not is_first():
        return
    if probe:
        report(scored, model, config, console)
    elif dry_run:
        show_plan(scored, model, config, console, fail_if_idle=fail_if_idle)
    elif launched() == 1 < num_processes:
        check_readable(scored)
        launch(num_processes, stdin=scored == "-")
    elif out is not None:
        take_part(num_processes, scored, console)
        train(scored, Path(out), model, config, shard, console, fail_if_idle=fail_if_idle)


def train(scored: str, out: Path, model: ModelConfig, config: TrainConfig, shard: bool, console: Console, *,
          fail_if_idle: bool) -> None:
    """Writes the updated policy, then prints the metrics; one of several processes does.

    Raises:
        GateError: there was no update, and that is to fail; the metrics are printed, no policy is written.
    """
    records = list(inline(read(scored, Scored)))
    from sparkcli.models.policy import load
    from sparkcli.training.processes import Processes
    from sparkcli.training.step import Trainer

    processes = Processes.join(model.device, shard=shard)
    trainer = Trainer(load(processes.placed(model)), config, processes)
    metrics = trainer.step(records)
    is_idle = metrics["updates"] == 0
    if not (is_idle and fail_if_idle):
        trainer.save(out)
    processes.leave()
    if processes.rank == 0:
        print(orjson.dumps(metrics).decode(), flush=True)
        if is_idle:
            tell_idle(metrics, f"{out} was not written" if fail_if_idle else f"{out} equals its parent", console,
                      fail=fail_if_idle)


def tell_idle(metrics: Mapping[str, Any], outcome: str, console: Console, *, fail: bool) -> None:
    """Says that there was nothing to learn from, and why. Raises GateError where that is to fail."""
    from sparkcli.training.samples import idle_reason

    text = f"nothing to learn from: {idle_reason(metrics)}; no update, {outcome}"
    if fail:
        raise GateError(f"{text} (--fail-if-idle)")
    console.warn(text)


def show_plan(scored: str, model: ModelConfig, config: TrainConfig, console: Console, *, fail_if_idle: bool) -> None:
    """Prints what `train` would do; checks all that it checks."""
    records = list(inline(read(scored, Scored)))
    from sparkcli.training.plan import plan

    planned = plan(records, model, config)
    print(orjson.dumps(planned).decode(), flush=True)
    if planned["updates"] == 0:
        tell_idle(planned, "training would change nothing", console, fail=fail_if_idle)


def report(rollouts: str, model: ModelConfig, config: TrainConfig, console: Console) -> None:
    """Prints the mismatch of rollouts, scored or not: right and wrong answers count alike."""
    unknown = Verdict(status="error", verifier="none")
    records = [extend(rollout, Scored, verdict=unknown, reward=0.0) for rollout in inline(read(rollouts, Rollout))
               if rollout.finish_reason != "error"]
    from sparkcli.models.policy import load
    from sparkcli.training.mismatch import hints
    from sparkcli.training.step import Trainer

    mismatch = Trainer(load(model), config).probe(records)
    print(orjson.dumps(mismatch).decode(), flush=True)
    for hint in hints(mismatch):
        console.say(hint)
