"""`reflect`: prompts or rollouts in, self-corrected answers out. Works on chunks of its input."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from sparkcli.commands.console import Console
from sparkcli.commands.inputs import Inputs
from sparkcli.commands.options import Out, Resume, command
from sparkcli.commands.sampling import Questions, opened, tell_renamed
from sparkcli.config import ModelConfig, ReflectConfig, ServerConfig
from sparkcli.files.jsonl import Output
from sparkcli.files.templates import read_templates
from sparkcli.method.judging import Sample
from sparkcli.method.reflecting import reflect as reflected
from sparkcli.method.templates import Templates
from sparkcli.records import Prompt, Rollout, UniqueIds, from_json, to_json

CHUNK = 512
"""Answers that take their turns together: enough to fill a batch, little to lose."""

Answers = Annotated[str, typer.Argument(help="prompts, answered here first, or rollouts, whose completions are the "
                                             "first answers; - is standard input", metavar="RECORDS")]


@command
def reflect(records: Answers = "-", *, out: Out = "-", resume: Resume = False, model: ModelConfig,
            config: ReflectConfig, server: ServerConfig, console: Console) -> None:
    """Answers, judges itself, and solves afresh what it judges wrong; the whole trace is kept.

    sparkcli reflect heldout.jsonl -m $M --policy policy/9 | sparkcli verify | jq .reward
    """
    templates = Templates.from_tables(read_templates(config.templates))
    changed = total = 0
    given = Inputs(records, Prompt)
    with (Output(out, resume=resume) as sink, opened(model, config, server, console) as engine,
          console.progress("reflect", records=out) as advance):
        sample = Questions(engine, config.drawing(1))
        unique = UniqueIds()
        todo = iter(sink.skip_done(_typed(record, unique) for record in given))
        while chunk := list(itertools.islice(todo, CHUNK)):
            answers = list(_answers(chunk, sample))
            for record in reflected(answers, sample, config, templates, config.seed):
                sink.write(record)
                total += 1
                changed += record.rounds > 0
            advance(len(chunk))
        given.check()
    tell_renamed(unique, console)
    console.say(f"reflected on {total} answers; tried again: {changed}")
    sample.report(console)


def _typed(record: Prompt, unique: UniqueIds) -> Prompt:
    """A line with a completion is a rollout, of which several may have one prompt's id."""
    if "completion" in record.extra:
        return from_json(Rollout, to_json(record), f"record {record.id!r}")
    return unique(record)


def _answers(records: Sequence[Prompt], sample: Sample) -> Iterator[Rollout]:
    """The first answer of each record: its own completion if it is a rollout, else sampled; in input order."""
    sampled = iter(sample([record for record in records if not isinstance(record, Rollout)]))
    for record in records:
        yield record if isinstance(record, Rollout) else next(sampled)[0]
