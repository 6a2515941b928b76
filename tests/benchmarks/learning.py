"""What the quickstart recipe learns, over seeds: SPARK next to plain GRPO with as many policy updates.

    .venv/bin/python tests/benchmarks/learning.py --repeats 5 --json learning.json

GRPO is the same loop with `loop.recycle` off: the updates that SPARK spends on recycled prompts go to solving. Both
start from the same checkpoint and answer the same held-out problems; a seed draws other training problems and samples.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
from common import parser, report

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "quickstart.toml"
PARTS = {"abilities": "standard tier", "scaling": "hard tier"}

Summary = dict[str, Any]


def arguments() -> argparse.Namespace:
    """Seeds are `--repeats`; `--jobs` runs use one thread each."""
    made = parser(__doc__.splitlines()[0], repeats=5)
    made.add_argument("--recipe", type=Path, default=RECIPE, help="settings of both (recipes/quickstart.toml)")
    made.add_argument("--jobs", type=int, default=1, help="runs at once, each with one thread if there are several (1)")
    made.add_argument("--runs", type=Path, help="keep the run directories there; finished ones are not run again")
    return made.parse_args()


def run(recipe: Path, out: Path, overrides: Sequence[str], jobs: int) -> Summary:
    """One loop, or what an earlier one left in `out`; its summary."""
    summary = out / "summary.json"
    if not summary.exists():
        flags = [part for override in overrides for part in ("--set", override)]
        threads = {"OMP_NUM_THREADS": "1"} if jobs > 1 else {}
        sparkcli = Path(sys.executable).with_name("sparkcli")
        subprocess.run([sparkcli, "loop", recipe, "-o", out, "--resume", "-q", *flags], check=True,
                       env=os.environ | threads)
    found: Summary = orjson.loads(summary.read_bytes())
    return found


def pair(recipe: Path, folder: Path, seed: int, jobs: int) -> dict[str, Summary]:
    """SPARK, then GRPO with as many updates, for one seed."""
    spark = run(recipe, folder / f"spark-{seed}", [f"loop.seed={seed * 1000}"], jobs)
    steps = map(orjson.loads, (folder / f"spark-{seed}" / "metrics.jsonl").read_bytes().splitlines())
    phases = sum(1 + ("recycled" in step) for step in steps)
    plain = ["loop.recycle=false", f"loop.steps={phases}"]
    return {"SPARK": spark, "GRPO": run(recipe, folder / f"grpo-{seed}", [f"loop.seed={seed * 1000}", *plain], jobs)}


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


def main() -> None:
    """Runs, prints, and writes the figures if asked."""
    asked = arguments()
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
