"""`verify`: rollouts in, verdicts and rewards out. Streams, in input order."""

from sparkcli.commands.console import Console
from sparkcli.commands.options import Out, Records, Resume, command
from sparkcli.config import VerifyConfig
from sparkcli.errors import GateError
from sparkcli.files.jsonl import Output, read
from sparkcli.records import Rollout


@command
def verify(rollouts: Records = "-", *, out: Out = "-", resume: Resume = False, config: VerifyConfig,
           console: Console) -> None:
    """A verdict that says nothing about the answer (timeout, error, unreadable gold) has a null reward, never 0.

    sparkcli verify rollouts.jsonl | jq -r .verdict.status | sort | uniq -c
    """
    from sparkcli.verifiers.pool import Pool
    from sparkcli.verifiers.summary import Summary

    summary = Summary()
    with Output(out, resume=resume) as sink, Pool(config) as pool, console.progress("verify") as advance:
        for scored in pool.verify(sink.skip_done(read(rollouts, Rollout))):
            sink.write(scored)
            summary.add(scored)
            advance(1)
    console.say(summary.text())
    if summary.error_share > config.max_error_share:
        raise GateError(f"{summary.error_share:.1%} of the verdicts say nothing about the answer; allowed: "
                        f"{config.max_error_share:.1%} (--max-error-share); see verdict.reason")
