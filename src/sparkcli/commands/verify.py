"""`verify`: rollouts in, verdicts and rewards out. Streams, in input order."""

from functools import partial
from typing import Annotated

import typer

from sparkcli.commands.console import Console
from sparkcli.commands.inputs import Inputs
from sparkcli.commands.options import Out, Resume, Rollouts, command
from sparkcli.config import ShapingConfig, VerifyConfig
from sparkcli.errors import GateError, InputError
from sparkcli.files.jsonl import Output
from sparkcli.files.outputs import read_outputs
from sparkcli.records import Rollout

Explain = Annotated[str | None, typer.Option(
    "--explain", metavar="ID", help="say how the verdicts on this prompt came about, and write no records")]


@command
def verify(rollouts: Rollouts = "-", *, out: Out = "-", resume: Resume = False, explain: Explain = None,
           config: VerifyConfig, shaping: ShapingConfig, console: Console) -> None:
    """A verdict that says nothing about the answer (timeout, error, unreadable gold) has a null reward, never 0.
    Lines with just `completion` and `answer` will do, and `id` and `verifier` if wanted.

    Verifiers: math, number, choice, label, exact, regex, json, instruction, code; all, any and weighted of several,
    as in {"name": "all", "of": ["math", "regex"]}; module:function for your own. The README has their options.

    sparkcli verify rollouts.jsonl | jq -r .verdict.status | sort | uniq -c
    """
    from sparkcli.method.shaping import shape
    from sparkcli.verdicts.referee import Referee
    from sparkcli.verdicts.summary import Summary

    skipped = 0

    def skip(error: InputError) -> None:
        nonlocal skipped
        skipped += 1
        console.warn(f"skipped: {error}")

    skip_errors = skip if config.on_error == "skip" else None
    records = Inputs(rollouts, Rollout, partial(read_outputs, skip=skip_errors))
    if explain is not None:
        _explain(explain, records, config, shaping)
        return
    summary = Summary()
    with (Output(out, resume=resume) as sink, Referee(config) as referee,
          console.progress("verify", records=out) as advance):
        for verdict in referee.verify(sink.skip_done(records), records.source, skip_errors):
            scored = shape(verdict, shaping)
            sink.write(scored)
            if records.is_quiet():
                sink.flush()
            summary.add(scored)
            advance(1)
        records.check()
    console.say(f"{summary.text()}{f'; {skipped} lines skipped' if skipped else ''}")
    if summary.error_share > config.max_error_share:
        raise GateError(f"{summary.error_share:.1%} of the verdicts say nothing about the answer; allowed: "
                        f"{config.max_error_share:.1%} (--max-error-share); see verdict.reason")


def _explain(id: str, records: Inputs[Rollout], config: VerifyConfig, shaping: ShapingConfig) -> None:
    """Prints what is known of the verdicts on the samples of a prompt.

    Raises:
        InputError: there is no such prompt.
    """
    from sparkcli.verdicts.referee import Referee

    found = False
    with Referee(config) as referee:
        for rollout in records:
            if rollout.id == id:
                lines = referee.explain(rollout, shaping)
                print("\n  ".join(lines))
                found = True
            elif found:
                return
    records.check()
    if not found:
        raise InputError(f"--explain {id}: no rollout has this id")
