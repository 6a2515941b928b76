"""`recycle`: scored rollouts in, judge and reflection prompts out. Reads all of its input first."""

from sparkcli.commands.console import Console
from sparkcli.commands.options import Out, ScoredRollouts, command
from sparkcli.config import RecycleConfig
from sparkcli.files.jsonl import Output, read
from sparkcli.files.templates import read_templates
from sparkcli.method.recycle import recycle as recycled
from sparkcli.method.templates import Templates
from sparkcli.records import Scored, groups


@command
def recycle(scored: ScoredRollouts = "-", *, out: Out = "-", config: RecycleConfig, console: Console) -> None:
    """Per group: judge one answer, compare a right and a wrong one, reflect on a wrong one. Recycled prompts are
    ordinary prompts; rollout, verify and train-step take them as they are.

    sparkcli recycle scored.jsonl | sparkcli rollout -m $M --policy policy/1 | sparkcli verify > again.jsonl
    """
    templates = Templates.from_tables(read_templates(config.templates))
    prompts, report = recycled(groups(read(scored, Scored)), config, templates)
    with Output(out, resume=None) as sink:
        for prompt in prompts:
            sink.write(prompt)
    console.say(report.summary())
