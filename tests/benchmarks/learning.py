"""What a quickstart recipe learns, over seeds: SPARK next to plain GRPO with as many policy updates.

    .venv/bin/python tests/benchmarks/learning.py --repeats 5 --json learning.json
    .venv/bin/python tests/benchmarks/learning.py --recipe recipes/quickstart-vision.toml --repeats 3

GRPO is the same loop with `loop.recycle` off: the updates that SPARK spends on recycled prompts go to solving. Both
start from the same checkpoint and answer the same held-out problems; a seed draws other training problems and samples.

With engines named it shows instead how the rewards of the first steps rise with each of them, on the same problems:

    .venv/bin/python tests/benchmarks/learning.py --engine transformers vllm openai --repeats 3 \\
        --python .venv-vllm/bin/python --json learning-engines.json
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import orjson
from common import parser, report

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "quickstart.toml"
PARTS = {"abilities": "standard tier", "scaling": "hard tier"}
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
SHORT = ("eval.limit=128", "eval.scaling=")
"""Where rewards are looked at, and held-out problems only at the end."""

Summary = dict[str, Any]


def arguments() -> argparse.Namespace:
    """Seeds are `--repeats`; `--jobs` runs use one thread each."""
    made = parser(__doc__.splitlines()[0], repeats=5)
    made.add_argument("--recipe", type=Path, default=RECIPE, help="settings of both (recipes/quickstart.toml)")
    made.add_argument("--jobs", type=int, default=1,
                      help="runs at once, each with one thread if there are several (1); an engine's take turns")
    made.add_argument("--runs", type=Path, help="keep the run directories there; finished ones are not run again")
    made.add_argument("--engine", nargs="+", choices=("transformers", "vllm", "openai"), default=(),
                      help="compare these instead; openai is a server that `sparkcli serve` starts")
    made.add_argument("--steps", type=int, default=6, help="of each run, where engines are compared (6)")
    made.add_argument("--python", default=sys.executable, help="interpreter of all runs (this one)")
    return made.parse_args()


def run(recipe: Path, out: Path, overrides: Sequence[str], threads: Mapping[str, str],
        python: str = sys.executable) -> Summary:
    """One loop, or what an earlier one left in `out`; its summary."""
    summary = out / "summary.json"
    if not summary.exists():
        flags = [part for override in overrides for part in ("--set", override)]
        subprocess.run([python, "-m", "sparkcli", "loop", recipe, "-o", out, "--resume", "-q", *flags], check=True,
                       env={**os.environ, **threads})
    found: Summary = orjson.loads(summary.read_bytes())
    return found


def pair(recipe: Path, folder: Path, seed: int, jobs: int) -> dict[str, Summary]:
    """SPARK, then GRPO with as many updates, for one seed."""
    threads = ONE_THREAD if jobs > 1 else {}
    spark = run(recipe, folder / f"spark-{seed}", [f"loop.seed={seed * 1000}"], threads)
    steps = map(orjson.loads, (folder / f"spark-{seed}" / "metrics.jsonl").read_bytes().splitlines())
    phases = sum(1 + ("recycled" in step) for step in steps)
    plain = ["loop.recycle=false", f"loop.steps={phases}"]
    return {"SPARK": spark, "GRPO": run(recipe, folder / f"grpo-{seed}", [f"loop.seed={seed * 1000}", *plain], threads)}


def values(summaries: Sequence[Summary], when: str, part: str, name: str) -> list[float]:
    """One ability's accuracies over seeds, in percent."""
    return [100 * accuracies_of(summary, when, part)[name]["accuracy"] for summary in summaries]


def accuracies_of(summary: Summary, when: str, part: str) -> dict[str, Any]:
    """The named accuracies of one part; empty where it was not measured."""
    return (summary[when] if part == "abilities" else summary["scaling"][when]) or {}


def spread(accuracies: Sequence[float]) -> str:
    """Mean ± standard deviation over seeds."""
    deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    return f"{statistics.mean(accuracies):.1f} ± {deviation:.1f}"


@contextlib.contextmanager
def at(engine: str, recipe: Path, python: str) -> Iterator[list[str]]:
    """What a loop is told in order to sample with an engine. A server runs meanwhile."""
    if engine != "openai":
        yield [f"model.engine={engine}"]
        return
    name = tomllib.loads(recipe.read_text(encoding="utf-8"))["model"]["name"]
    with subprocess.Popen([python, "-m", "sparkcli", "serve", "-q", "-m", name, "--port", "0"], stdout=subprocess.PIPE,
                          env=os.environ | ONE_THREAD) as server:
        try:
            url = orjson.loads(server.stdout.readline())["base_url"]
            yield ["model.engine=openai", f"server.base_url={url}", "server.sync_adapters=true"]
        finally:
            server.terminate()


def curves(engine: str, asked: argparse.Namespace, folder: Path) -> list[Summary]:
    """The summaries of an engine's runs, one a seed, each with the lines of its metrics and timings. They take turns:
    a server has one policy at a time."""
    found = []
    with at(engine, asked.recipe, asked.python) as told:
        for seed in range(asked.repeats):
            out = folder / f"{engine}-{seed}"
            overrides = [f"loop.seed={seed * 1000}", f"loop.steps={asked.steps}", *SHORT]
            summary = run(asked.recipe, out, [*overrides, *told], ONE_THREAD, asked.python)
            lines = {name: [orjson.loads(line) for line in (out / f"{name}.jsonl").read_bytes().splitlines()]
                     for name in ("metrics", "timings")}
            found.append({**summary, **lines})
    return found


def rewards(summary: Summary, phase: str) -> list[float | None]:
    """The mean reward of each step's samples, of problems ("policy") or of recycled prompts ("recycled"); None where
    too few of those waited."""
    found = [step[phase]["reward"] if phase in step else None for step in summary["metrics"]]
    return [statistics.mean(reward.values()) if reward else None for reward in found]


def seconds(summary: Summary, part: str) -> float:
    """Of a step, on average: sampling ("rollout"), training ("train") or all of it."""
    steps = [step for step in summary["timings"] if "all" in step]
    return statistics.mean(step[part] + step.get(f"again-{part}", 0.0) for step in steps)


def certainty(numbers: Sequence[float | None], digits: int) -> str:
    """Mean ± standard error over seeds."""
    known = [number for number in numbers if number is not None]
    error = statistics.stdev(known) / len(known)**0.5 if len(known) > 1 else 0.0
    return f"{statistics.mean(known):.{digits}f} ± {error:.{digits}f}" if known else "-"


def gap(numbers: Sequence[float | None], others: Sequence[float | None]) -> float:
    """Of two curves, on average."""
    pairs = zip(numbers, others, strict=True)
    return statistics.mean(own - other for own, other in pairs if own is not None and other is not None)


def compare_engines(asked: argparse.Namespace, folder: Path) -> None:
    """Curves side by side, then what was learnt, then the time."""
    with ThreadPoolExecutor(asked.jobs) as pool:
        runs = dict(zip(asked.engine, pool.map(curves, asked.engine, repeat(asked), repeat(folder)), strict=True))
    figures: dict[str, Any] = {}
    rows: list[list[str]] = []
    for phase, title in {"policy": "reward", "recycled": "recycled, reward"}.items():
        curve = figures[phase] = {engine: [rewards(s, phase) for s in found] for engine, found in runs.items()}
        rows += [[f"{title}, step {step + 1}", *(certainty([seed[step] for seed in seeds], 3)
                                                 for seeds in curve.values())] for step in range(asked.steps)]
        first, *others = curve.values()
        rows.append(["  gap to the first, all steps", "",
                     *(certainty(list(map(gap, seeds, first)), 3) for seeds in others)])
    for name in runs[asked.engine[0]][0]["after"]:
        for when in ("before", "after"):
            found = {engine: values(s, when, "abilities", name) for engine, s in runs.items()}
            figures[f"{name}/{when}"] = found
            rows.append([f"{name.replace('_', ' ')} {when}, %", *(certainty(seeds, 1) for seeds in found.values())])
    for part in ("rollout", "train", "all"):
        spent = {engine: [seconds(summary, part) for summary in found] for engine, found in runs.items()}
        figures[f"seconds/{part}"] = spent
        rows.append([f"seconds a step, {part}", *(certainty(seeds, 2) for seeds in spent.values())])
    report(f"{asked.recipe.name}, {asked.steps} steps, {asked.repeats} seeds, mean ± standard error", ["", *runs], rows,
           figures, asked.json)


def main() -> None:
    """Runs, prints, and writes the figures if asked."""
    asked = arguments()
    if asked.engine:
        with tempfile.TemporaryDirectory() as temporary:
            compare_engines(asked, asked.runs or Path(temporary))
        return
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(asked.jobs) as pool:
        folder = asked.runs or Path(temporary)
        pairs = list(pool.map(lambda seed: pair(asked.recipe, folder, seed, asked.jobs), range(asked.repeats)))
    by_method = {method: [found[method] for found in pairs] for method in ("SPARK", "GRPO")}
    rows, figures = [], {}
    for part, title in PARTS.items():
        for name in accuracies_of(by_method["SPARK"][0], "after", part):
            columns = {"base": values(by_method["SPARK"], "before", part, name),
                       **{method: values(runs, "after", part, name) for method, runs in by_method.items()}}
            figures[f"{part}/{name}"] = columns
            rows.append([f"{title}: {name.replace('_', ' ')}", *map(spread, columns.values())])
    for key in ("updates", "seconds"):
        figures[key] = {method: [s[key] for s in runs] for method, runs in by_method.items()}
        rows.append([key, "", *(f"{statistics.mean(counts):.0f}" for counts in figures[key].values())])
    report(f"{asked.recipe.name}, {asked.repeats} seeds, % right on held-out problems, mean ± standard deviation",
           ["", "base", "SPARK", "GRPO, equal updates"], rows, figures, asked.json)


if __name__ == "__main__":
    main()
