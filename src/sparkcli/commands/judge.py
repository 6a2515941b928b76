"""`judge`: rollouts in, the model's own judgements out. Streams, a few hundred verdicts at a time."""

from sparkcli.commands.console import Console
from sparkcli.commands.inputs import Inputs
from sparkcli.commands.options import Out, Resume, Rollouts, command
from sparkcli.commands.sampling import Questions, opened
from sparkcli.config import JudgeConfig, ModelConfig, ServerConfig
from sparkcli.files.jsonl import Output
from sparkcli.files.templates import read_templates
from sparkcli.method.judging import judge as judged
from sparkcli.method.templates import Templates
from sparkcli.records import Rollout, groups


@command
def judge(rollouts: Rollouts = "-", *, out: Out = "-", resume: Resume = False, model: ModelConfig, config: JudgeConfig,
          server: ServerConfig, console: Console) -> None:
    """Is each answer right, or which of a prompt's answers is better? A reply without a readable
    verdict is `no_verdict`, never "wrong".

    sparkcli rollout prompts.jsonl -m $M -n 8 | sparkcli judge -m $M --votes 3 | jq .judgement.score
    """
    templates = Templates.from_tables(read_templates(config.templates))
    without = total = 0
    records = Inputs(rollouts, Rollout)
    with (Output(out, resume=resume) as sink, opened(model, config, server, console) as engine,
          console.progress("judge", records=out) as advance):
        sample = Questions(engine, config.drawing(1))
        for record in judged(groups(sink.skip_done(records)), sample, config, templates, config.seed):
            sink.write(record)
            advance(1)
            total += 1
            without += record.judgement.status == "no_verdict"
        records.check()
    console.say(f"judged {total} answers; without a verdict: {without}")
    sample.report(console)
