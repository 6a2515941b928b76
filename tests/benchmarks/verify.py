r"""Rows that `verify` scores in a second, against a plain loop over math-verify; and the memory that it takes.

    .venv/bin/python tests/benchmarks/verify.py --json verify.json

`verify` is what the command does, file in and file out, in this process and with warm workers on every core; `command`
is `sparkcli verify` as a process, start-up included. The plain loop is one warm process that reads JSON with the
standard library, calls `verify(parse("\boxed{gold}"), parse(completion))` and writes the reward. It takes milliseconds
a row, so it gets whole groups drawn from the file, and rates are compared, turn by turn.

Inputs: the real rollouts of shared/data (400 rows; once, and 50 times under new ids), and made-up ones of
inputs/mathlike.py, in groups of 8 with 1 to 3 different answers, or with no pair of gold answer and answer twice. Then,
with one worker and `jobs` 1, each form of answers by itself, of inputs/forms.py: equal answers in another spelling,
unequal ones, and answers of another form than the gold answer's; no two rows have the same values.

The aims: 20 times the loop's rate on two cores with repeated answers, 4 times with all distinct, 10 times with one
worker on every form; a million rows through a pipe in less than 300 MB for the parent process.
"""

import argparse
import contextlib
import json
import logging
import multiprocessing
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import psutil
from common import paired_ratio, parser, report, usable_cores
from inputs import forms, mathlike

from sparkcli.config import ShapingConfig, VerifyConfig
from sparkcli.files.jsonl import Output
from sparkcli.files.outputs import read_outputs
from sparkcli.method.shaping import shape
from sparkcli.records import Rollout
from sparkcli.verdicts.referee import Referee
from sparkcli.verdicts.summary import Summary

SPARKCLI = str(Path(sys.executable).with_name("sparkcli"))
REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "math" / "qwen_math_rollouts_50x8.jsonl"
COPIES = 50
WARM_UP = [(rf"\sin x^{{{n}}} - y", rf"The answer is \boxed{{\cos {n} + {n}}}.") for n in range(2, 40)]
"""Gold answers and completions that need a parser."""
SEED = 1
REPEATED_AIM, DISTINCT_AIM, FORM_AIM, MEMORY_AIM = 20, 4, 10, 300
DIFFERENT_SHOWN = 20

Row = dict[str, Any]
Key = tuple[str, int]


@dataclass(frozen=True)
class Input:
    """A file of `rows` rollouts, and one of some of them, for the plain loop."""

    name: str
    path: Path
    rows: int
    part: Path
    part_rows: int


def arguments() -> argparse.Namespace:
    """`--quick` takes a tenth of the rows."""
    made = parser(__doc__.splitlines()[0], repeats=3)
    made.add_argument("--quick", action="store_true", help="a tenth of the rows")
    made.add_argument("--without-memory", action="store_true", help="leave out the million rows")
    made.add_argument("--only-forms", action="store_true", help="each form of answers, and nothing else")
    return made.parse_args()


def inputs(folder: Path, quick: bool) -> Iterator[Input]:
    """The files of the comparison, written to `folder`."""
    groups, part_groups = (1_250, 50) if quick else (12_500, 200)
    if REAL.exists():
        yield real(folder, "real", copies=1)
        yield real(folder, f"real, {COPIES} x", copies=COPIES)
    else:
        print(f"no real rollouts: {REAL} is missing")
    for name, distinct in (("made-up repeated", False), ("made-up distinct", True)):
        path = mathlike.write(folder / f"{name}.jsonl", groups=groups, seed=SEED, distinct=distinct)
        yield with_part(name, path, part_groups)


def real(folder: Path, name: str, *, copies: int) -> Input:
    """The real rollouts, under new ids in each copy; the plain loop gets one copy."""
    prompts = [orjson.loads(line) for line in REAL.read_bytes().splitlines()]
    rows = [{"id": f"{copy}/{prompt['idx']}", "prompt": prompt["question"], "answer": prompt["answer"],
             "sample": sample, "samples": len(prompt["code"]), "completion": completion}
            for copy in range(copies) for prompt in prompts for sample, completion in enumerate(prompt["code"])]
    path = folder / f"{name}.jsonl"
    path.write_bytes(b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows))
    return with_part(name, path, len(prompts), of_first=len(prompts))


def with_part(name: str, path: Path, part_groups: int, *, of_first: int | None = None) -> Input:
    """A file, and whole groups of it (of the first ones only, if asked) in another.

    math-verify remembers what it has parsed, so single rows would do the plain loop wrong.
    """
    lines = path.read_bytes().splitlines(keepends=True)
    starts = range(0, len(lines), mathlike.SAMPLES)[:of_first]
    part = path.with_suffix(".part.jsonl")
    part.write_bytes(b"".join(line for start in random.Random(SEED).sample(starts, part_groups)
                              for line in lines[start:start + mathlike.SAMPLES]))
    return Input(name, path, len(lines), part, part_groups * mathlike.SAMPLES)


@contextlib.contextmanager
def warm_referee(jobs: int = 0) -> Iterator[Referee]:
    """New workers, so that they remember nothing, that have all been at work."""
    warm = [Rollout(id=f"{i}", prompt="", answer=gold, sample=0, samples=1, completion=text)
            for i, (gold, text) in enumerate(WARM_UP)]
    with Referee(VerifyConfig(jobs=jobs)) as referee:
        list(referee.verify(warm))
        if len(referee.worker_pids) < (jobs or usable_cores()):
            raise RuntimeError("the warm-up did not reach every worker")
        yield referee


def in_process(source: Path, out: Path) -> float:
    """Seconds of what the command does, without start-up."""
    with warm_referee() as referee:
        return verified(referee, source, out)


def verified(referee: Referee, source: Path, out: Path) -> float:
    """Seconds of what the command does with workers that are there."""
    started = time.perf_counter()
    summary, shaping = Summary(), ShapingConfig()
    with Output(str(out)) as sink:
        for verdict in referee.verify(read_outputs(str(source), Rollout)):
            scored = shape(verdict, shaping)
            sink.write(scored)
            summary.add(scored)
    return time.perf_counter() - started


def as_command(source: Path, out: Path) -> float:
    """Seconds of the whole process."""
    started = time.perf_counter()
    subprocess.run([SPARKCLI, "verify", source, "-o", out, "-q", "--max-error-share", "1"], check=True)
    return time.perf_counter() - started


def loop(source: Path, out: Path) -> float:
    """Seconds of the plain loop, in a new process."""
    with multiprocessing.get_context("spawn").Pool(1, warm_loop) as pool:
        return pool.apply(plain_loop, (source, out))


def warm_loop() -> None:
    """The import, and what math-verify does only once."""
    from math_verify import parse, verify

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    for gold, text in WARM_UP:
        verify(parse(f"\\boxed{{{gold}}}"), parse(text))


def plain_loop(source: Path, out: Path, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds, without a warm-up."""
    from math_verify import parse, verify

    started = clock()
    with source.open() as lines, out.open("w") as sink:
        for line in lines:
            row = json.loads(line)
            row["reward"] = float(verify(parse(f"\\boxed{{{row['answer']}}}"), parse(row["completion"])))
            sink.write(json.dumps(row) + "\n")
    return clock() - started


def compared(given: Input, folder: Path, repeats: int) -> dict[str, Any]:
    """Rates, ratios and the verdicts that differ, for one input. The three take turns."""
    outputs = {name: folder / f"{name}.out.jsonl" for name in ("verify", "command", "loop")}
    runs: dict[str, Callable[[Path, Path], float]] = {"verify": in_process, "command": as_command, "loop": loop}
    per_row: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            source, rows = (given.part, given.part_rows) if name == "loop" else (given.path, given.rows)
            per_row[name].append(run(source, outputs[name]) / rows)
    return {"rows": given.rows, "loop_rows": given.part_rows,
            "rows_per_s": {name: 1 / median(seconds) for name, seconds in per_row.items()},
            "ratio": {name: paired_ratio(per_row["loop"], per_row[name]) for name in ("verify", "command")},
            "different": different(outputs["verify"], outputs["loop"])}


def by_form(folder: Path, quick: bool, repeats: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The figures of each form, and of each pair of forms, with one worker, by processor time: the runs are short.

    Each turn has rows of its own.
    """
    rows, part_rows = (150, 30) if quick else (1500, 150)
    with (warm_referee(jobs=1) as referee,
          multiprocessing.get_context("spawn").Pool(1, warm_loop) as pool):
        for name, pairs in form_makers(rows):
            seconds: dict[str, list[float]] = {"verify": [], "loop": []}
            differences: list[Row] = []
            for turn in range(repeats):
                source, part, ours, theirs = (folder / f"{file}.jsonl" for file in ("form", "part", "ours", "theirs"))
                lines = [orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in form_rows(pairs(turn))]
                source.write_bytes(b"".join(lines))
                part.write_bytes(b"".join(lines[:part_rows]))
                before = processor_seconds(referee)
                verified(referee, source, ours)
                seconds["verify"].append((processor_seconds(referee) - before) / rows)
                seconds["loop"].append(pool.apply(plain_loop, (part, theirs, time.process_time)) / part_rows)
                differences += different(ours, theirs)
            yield name, {"rows": rows, "loop_rows": part_rows,
                         "rows_per_s": {side: 1 / median(turns) for side, turns in seconds.items()},
                         "ratio": {"verify": paired_ratio(seconds["loop"], seconds["verify"])},
                         "different": differences, "turns": repeats}


def processor_seconds(referee: Referee) -> float:
    """Processor time of this process and of the workers so far."""
    workers = [psutil.Process(pid).cpu_times() for pid in referee.worker_pids]
    return time.process_time() + sum(times.user + times.system for times in workers)


def form_makers(rows: int) -> Iterator[tuple[str, Callable[[int], Iterator[forms.Pair]]]]:
    """What makes the pairs of each form from a seed."""
    for form in forms.FORMS:
        for name, equal in (("equal", True), ("unequal", False)):
            yield f"{form}, {name}", partial(forms.pairs, form, rows=rows, equal=equal)
    for gold, answer in forms.MIXED:
        yield f"{gold} and {answer}", partial(forms.mixed, gold, answer, rows=rows)


def form_rows(pairs: Iterator[forms.Pair]) -> Iterator[Row]:
    """Rollouts that say no more than their answer."""
    for place, (gold, answer) in enumerate(pairs):
        yield {"id": f"{place}", "prompt": "?", "answer": gold, "sample": 0, "samples": 1,
               "completion": rf"The answer is $\boxed{{{answer}}}$."}


def different(ours: Path, theirs: Path) -> list[Row]:
    """Where the rewards are not the same, with what we say."""
    expected = {key_of(row): row["reward"] for row in map(orjson.loads, theirs.read_bytes().splitlines())}
    with ours.open("rb") as lines:
        scored = (row for row in map(orjson.loads, lines) if key_of(row) in expected)
        return [{"gold": row["answer"], "answer": row["verdict"].get("extracted"), "reward": row["reward"],
                 "reason": row["verdict"].get("reason"), "math_verify": expected[key_of(row)]}
                for row in scored if row["reward"] != expected[key_of(row)]]


def key_of(row: Row) -> Key:
    """Names a row."""
    return row["id"], row["sample"]


def memory(rows: int) -> dict[int, float]:
    """Peak MB of the command's own process when a tenth of `rows` and when all of them have come out of its pipe."""
    groups = str(rows // mathlike.SAMPLES)
    command = [SPARKCLI, "verify", "-", "-q", "--max-error-share", "1"]
    peaks: dict[int, float] = {}
    with (subprocess.Popen([sys.executable, mathlike.__file__, groups, str(SEED)], stdout=subprocess.PIPE) as maker,
          subprocess.Popen(command, stdin=maker.stdout, stdout=subprocess.PIPE) as verifier):
        assert maker.stdout is not None and verifier.stdout is not None
        maker.stdout.close()
        for count, _ in enumerate(verifier.stdout, 1):
            if count % 1000 == 0:
                peaks[count] = peak_mb(verifier.pid)
    if verifier.returncode or count != rows // mathlike.SAMPLES * mathlike.SAMPLES:
        raise RuntimeError(f"{count} of {rows} rows came out, exit code {verifier.returncode}")
    return {at_most: max(peak for at, peak in peaks.items() if at <= at_most)
            for at_most in (rows // 10, rows)}


def peak_mb(pid: int) -> float:
    """The largest resident size that a process has had, in units of 10^6 bytes (Linux); 0 if it has just ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0.0
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(peak[1]) * 1024 / 1e6 if peak else 0.0


def table_row(name: str, figures: dict[str, Any]) -> list[str]:
    """One input's line of the table."""
    rates, ratio, loop_rows = figures["rows_per_s"], figures["ratio"], figures["loop_rows"]
    compared_rows = loop_rows * figures.get("turns", 1)
    agree = compared_rows - len(figures["different"])
    return [f"{name}, {figures['rows']:,}", f"{rates['verify']:,.0f}",
            f"{rates['command']:,.0f}" if "command" in rates else "", f"{rates['loop']:,.0f} ({loop_rows:,})",
            f"{ratio['verify']:.1f}", f"{ratio['command']:.1f}" if "command" in ratio else "",
            f"{agree / compared_rows:.1%}"]


def main() -> None:
    """Times, prints, and writes the figures if asked."""
    asked = arguments()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        if not asked.only_forms:
            for given in inputs(Path(folder), asked.quick):
                figures[given.name] = compared(given, Path(folder), asked.repeats)
        figures.update(by_form(Path(folder), asked.quick, asked.repeats))
    table = [table_row(name, found) for name, found in figures.items()]
    if not (asked.without_memory or asked.only_forms) and Path("/proc/self/status").exists():
        peaks = memory(100_000 if asked.quick else 1_000_000)
        figures["peak_mb"] = {str(rows): peak for rows, peak in peaks.items()}
        table += [[f"peak at {rows:,}", f"{peak:.0f} MB", *[""] * 5] for rows, peak in peaks.items()]
    report(f"rows per second; aims: {REPEATED_AIM} x repeated, {DISTINCT_AIM} x distinct, {FORM_AIM} x each form with "
           f"one worker, below {MEMORY_AIM} MB",
           ["input, rows", "verify", "command", "loop (rows)", "x", "cmd x", "agree"], table, figures,
           asked.json)
    for name, found in figures.items():
        for row in found.get("different", [])[:DIFFERENT_SHOWN]:
            ours, theirs = row["reward"], row["math_verify"]
            print(f"{name}: gold {row['gold']!r}, answer {row['answer']!r}: {ours}, {row['reason']}; loop {theirs}")


if __name__ == "__main__":
    main()
