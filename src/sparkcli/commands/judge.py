"""`judge`: rollouts in, the model's own judgements out. Streams, a few hundred verdicts at a time."""

from collections import Counter
from collections.abc import Mapping

from sparkcli.commands.console import Console
from sparkcli.commands.inputs import Inputs
from sparkcli.commands.options import Out, Resume, Rollouts, command
from sparkcli.commands.sampling import Questions, opened
from sparkcli.config import JudgeConfig, ModelConfig, ServerConfig
from sparkcli.files.jsonl import Output
from sparkcli.files.templates import read_templates
from sparkcli.method.judging import judge as judged
from sparkcli.method.templates import Templates
from sparkcli.records import NoJudgement, Rollout, groups

REASONS: Mapping[NoJudgement, str] = {
    "not_sampled": "no sample to judge", "no_answer": "no final answer",
    "nothing_to_compare": "nothing to compare with", "not_asked": "could not be asked about",
    "unreadable": "asked about, no verdict could be read"}
"""Why a completion has no judgement, in words for people."""


@command
def judge(rollouts: Rollouts = "-", *, out: Out = "-", resume: Resume = False, model: ModelConfig, config: JudgeConfig,
          server: ServerConfig, console: Console) -> None:
    """Is each answer right, or which of a prompt's answers is better? A reply without a readable
    verdict is `no_verdict`, never "wrong".

    sparkcli rollout prompts.jsonl -m $M -n 8 | sparkcli judge -m $M --votes 3 | jq .judgement.score
    """
    templates = Templates.from_tables(read_templates(config.templates))
    counts: Counter[str] = Counter()
    records = Inputs(rollouts, Rollout)
    with (Output(out, resume=resume) as sink, opened(model, config, server, console, only_text=True) as engine,
          console.progress("judge", records=out) as advance):
        sample = Questions(engine, config.drawing(1))
        for record in judged(groups(sink.skip_done(records)), sample, config, templates, config.seed):
            sink.write(record)
            advance(1)
            counts[record.judgement.reason or "judged"] += 1
        records.check()
    console.say(counts_text(counts))
    sample.report(console)


def counts_text(counts: Counter[str]) -> str:
    """How many completions were judged, and why others were not.

    >>> counts_text(Counter(judged=4, no_answer=20, unreadable=8))
    'judged 4 of 32 completions; not judged: 20 no final answer, 8 asked about, no verdict could be read'
    """
    others = ", ".join(f"{counts[reason]} {text}" for reason, text in REASONS.items() if counts[reason])
    return f"judged {counts['judged']} of {counts.total()} completions{f'; not judged: {others}' if others else ''}"
