"""`bench`: benchmarks of a policy."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import orjson
import typer

from sparkcli.builtin import TASKS
from sparkcli.commands.console import Console
from sparkcli.commands.options import STYLE, add, command
from sparkcli.commands.sampling import opened
from sparkcli.config import ModelConfig, ReflectConfig, RolloutConfig, ServerConfig, VerifyConfig
from sparkcli.errors import UsageError, nearest
from sparkcli.files.templates import read_templates
from sparkcli.method.templates import Templates

BENCHMARKS = tuple(TASKS)

Name = Annotated[str, typer.Argument(help="|".join(BENCHMARKS), metavar="BENCHMARK")]
Limit = Annotated[int | None, typer.Option(help="items per ability at most; unset: the benchmark's own", min=1,
                                           show_default=False)]


@command
def names() -> None:
    """One a line.

    sparkcli bench list
    """
    print(*BENCHMARKS, sep="\n")


@command
def run(benchmark: Name, *, limit: Limit = None, model: ModelConfig, config: RolloutConfig, server: ServerConfig,
        console: Console) -> None:
    """Results go to standard output as JSON, and to standard error as a table. Items to judge, to compare and to
    reflect on are made from the bare model's answers, so that every policy of a model is asked the same. --samples is
    the N of voting and best-of-N. tiny-vision needs a model that reads images, such as builtin:tiny-vision.

    sparkcli bench run tiny-math -m builtin:tiny-math --policy runs/quickstart/policy/000024 --max-tokens 128
    """
    if benchmark not in BENCHMARKS:
        raise UsageError(f"unknown benchmark {benchmark!r}{nearest(benchmark, BENCHMARKS)}")
    from sparkcli.bench import builtin
    from sparkcli.bench.heldout import held_out
    from sparkcli.bench.stages import Stages
    from sparkcli.bench.tables import results_table
    from sparkcli.verdicts.referee import Referee

    templates = Templates.from_tables(read_templates())
    bare = replace(model, policy=None)
    with opened(bare, config, server, console) as engine, Referee(VerifyConfig()) as referee:
        stages = Stages(engine.sample, referee.verify, templates, config, ReflectConfig())
        items = held_out(builtin.standard(benchmark), stages, min(limit or builtin.ITEMS, builtin.ITEMS))
        engine.load_policy(Path(model.policy) if model.policy else None)
        results = builtin.run(benchmark, items, stages, limit)
    print(orjson.dumps({"benchmark": benchmark, "model": model.name, "policy": model.policy, **results}).decode(),
          flush=True)
    console.show(results_table({"": results}))


app = typer.Typer(add_completion=False, help="Measures a policy on benchmarks.", **STYLE)
add(app, "list", "Prints the names of the benchmarks.", names)
add(app, "run", "Measures a policy on held-out problems.", run)
