r"""Sampling by our transformers engine beside what else there is: emitted tokens per second, 64 prompts × 8 samples.

    .venv/bin/python tests/benchmarks/rollout.py --json rollout.json
    .venv/bin/python tests/benchmarks/rollout.py --device cuda -m FOLDER --json rollout.json
    .venv/bin/python tests/benchmarks/rollout.py -m build/real/model --prompts 8 --max-tokens 64 --threads 1

ours            `open_engine(...).sample`: from prompt records to rollout records, texts and log-probs in them
generate        `model.generate(num_return_sequences=8)` on left-padded batches of as many rows as ours has in flight:
                from token ids to token ids, without log-probs
generate_batch  transformers' continuous batching: from token ids to token ids with log-probs
vLLM            `vllm.LLM.generate(n=8)` with prefix caching: from token ids to token ids with log-probs; by the
                interpreter that `--vllm-python` names, left out where there is none

Two workloads: builtin:tiny-math on its own problems, and a Qwen2 of 26 M parameters with random weights on prompts of
400 tokens. Completions end by themselves, the second model's with nearly constant chance (see `inputs/sampling.py`), so
that lengths are mixed. All sides draw at temperature 1 from the same distribution; what each draws differs, hence
tokens per second. Every run is a process of its own with the same number of threads; the sides take turns. The clock
starts when the model is loaded and has sampled a little (on CUDA: once everything). The aim: at least 3 times as fast
as generate, and never behind generate_batch.

The first run of each side is checked, or the benchmark fails: whole completions of every prompt, log-probs those of
a plain float32 forward pass, lengths and log-probs on average the other sides' but for noise.

Where others use the machine too, the clock says little; tokens per second of processor time, over all threads, say
more. A team of threads then waits for each other, its waiting counted: `--threads 1`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from common import paired_ratio, parser, report, usable_cores
from inputs.sampling import Job, arithmetic, letters, read_by, write_model

HERE = Path(__file__).resolve().parent
SIDES = ("ours", "generate", "generate_batch", "vllm")
WORKLOADS = ("tiny-math", "long-prompts")
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 2e-2}
"""Mean distance of reported log-probs from a float32 forward pass."""
NOISE = 5.0
"""Standard errors that two sides' means may differ by."""
SCORED_TOKENS = 20_000
"""Completions of so many prompts are scored by a forward pass as have this many tokens, each with its prompt."""
MEAN_LENGTH, PROMPT_LENGTH = 110.0, 400
"""Tokens, of the made-up model's completions without a limit, and of its prompts."""

Figures = dict[str, Any]


def arguments() -> argparse.Namespace:
    """Sizes, and what takes part."""
    made = parser(__doc__.splitlines()[0], repeats=2)
    made.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where (cpu)")
    made.add_argument("--dtype", choices=[*TOLERANCE], help="weights (float32, on cuda bfloat16)")
    made.add_argument("-m", "--model", help="folder or hub id in place of the workloads; reads tiny-math's problems")
    made.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=WORKLOADS, help="which (both)")
    made.add_argument("--only", nargs="+", choices=SIDES, default=SIDES, metavar="NAME",
                      help=f"sides that take part ({', '.join(SIDES)})")
    made.add_argument("--prompts", type=int, default=64, help="prompts (64)")
    made.add_argument("--samples", type=int, default=8, help="completions of each (8)")
    made.add_argument("--max-tokens", type=int, default=256, help="tokens of a completion at most (256)")
    made.add_argument("--batch-size", type=int, default=256, help="rows in flight, of ours and generate (256)")
    made.add_argument("--threads", type=int, default=usable_cores(), help="of each process (one per core)")
    made.add_argument("--vllm-python", type=Path, default=HERE.parents[1] / ".venv-vllm/bin/python", metavar="FILE",
                      help="interpreter with vLLM (.venv-vllm/bin/python)")
    made.add_argument("--option", action="append", default=[], metavar="SIDE.KEY=JSON",
                      help="of ContinuousBatchingConfig or vllm.LLM, e.g. generate_batch.page_size=32; repeatable")
    asked = made.parse_args()
    asked.dtype = asked.dtype or ("bfloat16" if asked.device == "cuda" else "float32")
    return asked


def interpreters(asked: argparse.Namespace) -> dict[str, Path]:
    """Each side's; says which side is left out."""
    found = {name: Path(sys.executable) for name in asked.only}
    if "vllm" in found:
        found["vllm"] = asked.vllm_python
        if not asked.vllm_python.exists():
            print(f"without vLLM: there is no {asked.vllm_python}; see --vllm-python", file=sys.stderr)
            del found["vllm"]
    return found


def options(asked: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """`--option` by side and key."""
    found: dict[str, dict[str, Any]] = {}
    for text in asked.option:
        place, _, value = text.partition("=")
        side, _, key = place.partition(".")
        found.setdefault(side, {})[key] = json.loads(value)
    return found


def jobs(asked: argparse.Namespace, folder: Path) -> dict[str, Job]:
    """What the sides are asked, by workload."""
    from sparkcli.models.locate import model_folder

    def job(model: str, texts: list[str]) -> Job:
        prompts, stop_ids, pad_id = read_by(model, texts)
        return Job(model=model, device=asked.device, dtype=asked.dtype, threads=asked.threads, texts=texts,
                   prompts=prompts, stop_ids=stop_ids, pad_id=pad_id, samples=asked.samples,
                   max_tokens=asked.max_tokens, batch_size=asked.batch_size, seed=0, options=options(asked))

    if asked.model:
        return {asked.model: job(str(model_folder(asked.model).resolve()), arithmetic(asked.prompts))}
    made: dict[str, Job] = {}
    if "tiny-math" in asked.workloads:
        made["tiny-math"] = job(str(model_folder("builtin:tiny-math")), arithmetic(asked.prompts))
    if "long-prompts" in asked.workloads:
        write_model(folder / "model", MEAN_LENGTH)
        made["long-prompts"] = job(str(folder / "model"), letters(asked.prompts, PROMPT_LENGTH))
    return made


def called(python: Path, module: str, *given: object, threads: int) -> None:
    """Runs a module of this folder to its end; what it prints is shown if it fails."""
    env = os.environ | {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([python, "-m", module, *map(str, given)], check=False, cwd=HERE, env=env,
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise RuntimeError(f"{module} {given[0]} failed:\n{done.stdout[-4000:]}")


def timed(job: Job, sides: Mapping[str, Path], repeats: int, folder: Path) -> dict[str, list[Figures]]:
    """The runs of each side."""
    runs: dict[str, list[Figures]] = {name: [] for name in sides}
    for turn in range(repeats):
        replace(job, seed=turn).save(folder / "job.json")
        for name, python in sides.items():
            out = folder / f"{name}.json"
            called(python, "sides.sampling.worker", name, folder / "job.json", out, threads=job.threads)
            runs[name].append(orjson.loads(out.read_bytes()))
            if job.device == "cpu" and runs[name][-1]["threads"] != job.threads:
                raise RuntimeError(f"{name} ran with {runs[name][-1]['threads']} threads instead of {job.threads}")
    return runs


def checked(job: Job, name: str, run: Figures, folder: Path) -> Figures:
    """What one run sampled, in figures.

    Raises:
        RuntimeError: it is not what was asked for.
    """
    completions = [completion for group in run["groups"] for completion in group]
    if [len(group) for group in run["groups"]] != [job.samples] * len(job.prompts):
        raise RuntimeError(f"{name}: not {job.samples} completions of each of {len(job.prompts)} prompts")
    for completion in completions:
        check_whole(job, name, completion)
    scored = scores_of(job, run["groups"], folder)
    told = completions[0]["logprobs"] is not None
    distances = [abs(own - other) for completion, expected in zip(completions, scored, strict=False) if told
                 for own, other in zip(completion["logprobs"], expected, strict=True)]
    if told and not statistics.fmean(distances) <= TOLERANCE[job.dtype]:
        raise RuntimeError(f"{name}: log-probs are off by {statistics.fmean(distances):.2g} on average")
    return {"lengths": [len(c["token_ids"]) for c in completions], "logprobs": list(map(statistics.fmean, scored)),
            "logprob_distance": max(distances) if told else None}


def check_whole(job: Job, name: str, completion: Figures) -> None:
    """Raises RuntimeError unless a completion ends at its first end marker or at the limit, with log-probs if any."""
    ids, logprobs = completion["token_ids"], completion["logprobs"]
    stops = [place for place, token in enumerate(ids, 1) if token in job.stop_ids]
    if not ids or stops not in ([], [len(ids)]) or not (stops or len(ids) == job.max_tokens):
        raise RuntimeError(f"{name}: a completion of {len(ids)} tokens with end markers at {stops}")
    if logprobs is not None and len(logprobs) != len(ids):
        raise RuntimeError(f"{name}: {len(logprobs)} log-probs of {len(ids)} tokens")


def scores_of(job: Job, groups: Sequence[Sequence[Figures]], folder: Path) -> list[list[float]]:
    """Log-probs of the first prompts' completions, from a float32 forward pass."""
    rows: list[list[list[int]]] = []
    tokens = 0
    for prompt, group in zip(job.prompts, groups, strict=True):
        tokens += sum(len(prompt) + len(completion["token_ids"]) for completion in group)
        if tokens > SCORED_TOKENS and rows:
            break
        rows.append([completion["token_ids"] for completion in group])
    (folder / "rows.json").write_bytes(orjson.dumps(rows))
    called(Path(sys.executable), "sides.sampling.score", folder / "job.json", folder / "rows.json",
           folder / "scores.json", threads=job.threads)
    scores: list[list[float]] = orjson.loads((folder / "scores.json").read_bytes())
    return scores


def check_alike(found: Mapping[str, Figures]) -> None:
    """Raises RuntimeError where two sides' means differ by more than chance allows."""
    first, *others = found
    for kind in ("lengths", "logprobs"):
        for name in others:
            a, b = found[first][kind], found[name][kind]
            distance = abs(statistics.fmean(a) - statistics.fmean(b))
            error = (statistics.variance(a) / len(a) + statistics.variance(b) / len(b)) ** 0.5
            if not distance <= NOISE * error:
                raise RuntimeError(f"{first} and {name} draw from different distributions: mean {kind} differ by "
                                   f"{distance:.3g}, {distance / error:.1f} standard errors")


def compared(job: Job, sides: Mapping[str, Path], repeats: int, folder: Path) -> Figures:
    """All figures of one workload."""
    runs = timed(job, sides, repeats, folder)
    drawn = {name: checked(job, name, of_side[0], folder) for name, of_side in runs.items()}
    check_alike(drawn)
    found = {name: side(of_side, drawn[name]) for name, of_side in runs.items()}
    ratios = {clock: {f"ours/{name}": paired_ratio(found["ours"][clock], found[name][clock])
                      for name in found if name != "ours" and "ours" in found}
              for clock in ("tokens_per_s", "tokens_per_cpu_s")}
    return {"sides": found, "faster": ratios["tokens_per_s"], "faster_cpu": ratios["tokens_per_cpu_s"],
            "device": next(iter(runs.values()))[0]["device"]}


def side(runs: Sequence[Figures], drawn: Figures) -> Figures:
    """One side's rates, and what it drew in its first run."""
    tokens = [sum(len(c["token_ids"]) for group in run["groups"] for c in group) for run in runs]
    lengths = drawn["lengths"]
    tenths = statistics.quantiles(lengths, n=10)
    rates = {clock: [count / run[seconds] for count, run in zip(tokens, runs, strict=True)]
             for clock, seconds in (("tokens_per_s", "seconds"), ("tokens_per_cpu_s", "cpu_seconds"))}
    return {"tokens": tokens, "seconds": [run["seconds"] for run in runs], **rates,
            "median_tokens_per_s": statistics.median(rates["tokens_per_s"]),
            "median_tokens_per_cpu_s": statistics.median(rates["tokens_per_cpu_s"]),
            "length_mean": statistics.fmean(lengths), "length_p10": tenths[0], "length_p90": tenths[-1],
            "logprob_mean": statistics.fmean(drawn["logprobs"]), "logprob_distance": drawn["logprob_distance"],
            "name": runs[0]["name"]}


def table_rows(found: Mapping[str, Figures]) -> list[list[str]]:
    """A line a side, under each workload."""
    rows = []
    for workload, figures in found.items():
        rows.append([workload])
        for name, of_side in figures["sides"].items():
            ratios = [figures[clock].get(f"ours/{name}") for clock in ("faster", "faster_cpu")]
            rows.append([f"  {of_side['name']}", f"{of_side['median_tokens_per_s']:,.0f}",
                         f"{of_side['median_tokens_per_cpu_s']:,.0f}", *(f"{r:.2f}" if r else "" for r in ratios),
                         f"{of_side['length_mean']:.1f}", f"{of_side['length_p10']:.0f}, {of_side['length_p90']:.0f}",
                         f"{of_side['logprob_mean']:.3f}"])
    return rows


def main() -> None:
    """Times, prints, and writes the figures if asked."""
    asked = arguments()
    os.environ |= {"OMP_NUM_THREADS": str(asked.threads), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    sides = interpreters(asked)
    with tempfile.TemporaryDirectory() as temporary:
        found = {workload: compared(job, sides, asked.repeats, Path(temporary))
                 for workload, job in jobs(asked, Path(temporary)).items()}
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(asked).items()
                if key not in ("json", "repeats", "vllm_python")}
    device = next(iter(found.values()))["device"]
    columns = ["", "tokens/s", "CPU", "ours ×", "CPU", "length", "p10, p90", "log-prob"]
    report("rollout", columns, table_rows(found), {**settings, "workloads": found}, asked.json, device=device)


if __name__ == "__main__":
    main()
