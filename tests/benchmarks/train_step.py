r"""A training step on stored rollouts beside TRL's GRPOTrainer: seconds and memory for the same update.

    .venv/bin/python tests/benchmarks/train_step.py --json train_step.json
    .venv/bin/python tests/benchmarks/train_step.py --device cuda --model-size 1.5b --groups 32 --json train_step.json
    .venv/bin/python tests/benchmarks/train_step.py -m build/real/model --workloads solve --groups 1

Both sides make one AdamW update of the same model (a Qwen2 with random weights and tied embeddings) on the same stored
rollouts, 8 samples a group, one group a micro-batch, with the KL to the reference, LoRA of rank 16 on all linear layers
or every weight. TRL generates nothing: its own hook for rollouts returns the stored ones; its reference pass, rewards,
advantages, loss, backward pass, clipping and AdamW are unmodified. Each run is a process of its own; the sides take
turns. The clock starts when model and data are loaded: ours covers `Trainer.step`, TRL's an update's callbacks from
begin to end. On CUDA a first step warms up, untimed.

Before anything is timed, one run of each side measures the peak of tensor memory above the loaded model (the
allocator's events on a CPU, its own peak on CUDA) and what the update changed; the benchmark fails unless losses,
gradient norms and changed weights agree.

Where others use the machine too, the clock says little; the ratio of processor times, over all threads, says more.

The limit is arithmetic: multiplications of tokens with weights of body, adapter and head that each side makes, in the
reference pass, forward and backward; attention scores, norms and AdamW are left out. TRL computes a group's prompt for
each sample and pads completions to the longest; on a CPU its head scores every position, prompts and padding included.
The second limit is that to a trainer without padding whose head scores completions alone.

With `--workloads vision` the model is a Qwen2.5-VL and each group has an image of its own, 210 to 324 image tokens. Its
vision tower is frozen, unless `--train-vision`, and what goes through it is counted: ours must be each group's patches
once a pass (reference, update); TRL's are those of each sample (with `--method full` without its reference, which is a
model of its own). Both sides open and process the images within the clock, TRL each sample's.

The aims: 1.5 times as fast in 0.6 of the tensor memory on solving, 2.5 times in 0.4 on recycled prompts and on images.
"""

import argparse
import math
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from common import paired_ratio, parser, report, usable_cores
from inputs import visions
from inputs.rollouts import (
    LENGTHS,
    SAMPLES,
    SHAPES,
    Group,
    Shape,
    draw,
    read_rollouts,
    read_shape,
    write_model,
    write_rollouts,
)
from sides.job import Job

AIMS = {"solve": (1.5, 0.6), "recycled": (2.5, 0.4), "vision": (2.5, 0.4)}
"""Times as fast, and share of the tensor memory."""
TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2}
"""Relative difference of losses and gradient norms."""
CHANGE_TOLERANCE = {"float32": 0.05, "bfloat16": 0.5}
"""Relative distance of what the update changed. AdamW's first step is the gradient's sign times the rate, so that a
weight whose gradient is rounding noise may go either way."""

Figures = dict[str, Any]


def arguments() -> argparse.Namespace:
    """Sizes, and the settings that both sides share."""
    made = parser(__doc__.splitlines()[0], repeats=2)
    made.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where (cpu)")
    made.add_argument("--dtype", choices=[*TOLERANCE], help="weights of the model (float32, on cuda bfloat16)")
    made.add_argument("--model-size", choices=[*SHAPES], default="small", help="of the Qwen2 (small)")
    made.add_argument("-m", "--model", type=Path, metavar="FOLDER",
                      help="a Qwen2 or Llama with weights of its own, in place of the made-up one")
    made.add_argument("--workloads", nargs="+", choices=[*AIMS], default=[*LENGTHS], help="which (solve recycled)")
    made.add_argument("--train-vision", action="store_true", help="train the vision tower too, on both sides")
    made.add_argument("--groups", type=int, default=4, help="groups of one update (4)")
    made.add_argument("--method", choices=["lora", "full"], default="lora", help="what is trained (lora)")
    made.add_argument("--checkpointing", action="store_true", help="recompute activations, on both sides")
    made.add_argument("--generation", choices=["group", "batch"], default="group",
                      help="TRL's generation batch: one group, which is then one micro-batch (group); or, as is TRL's "
                           "default, all groups, their samples shuffled over the micro-batches")
    made.add_argument("--tile", type=int, metavar="COLUMNS",
                      help="of the vocabulary that TRL's head takes at a time (as many as TRL does: 32768, for all "
                           "positions of a micro-batch, in several copies on a CPU)")
    made.add_argument("--threads", type=int, default=usable_cores(), help="of each process (one per core)")
    made.add_argument("--profile", action="store_true", help="print the operators that our step spends its time in")
    asked = made.parse_args()
    asked.dtype = asked.dtype or ("bfloat16" if asked.device == "cuda" else "float32")
    if asked.model and "vision" in asked.workloads:
        made.error("-m: a model of text, and --workloads vision makes its own")
    return asked


def ours(job: Job) -> Figures:
    """Our side, with its imports."""
    from sides import ours

    return ours.run(job)


def theirs(job: Job) -> Figures:
    """TRL's side, with its imports."""
    from sides import theirs

    return theirs.run(job)


def draw_adapter(job: Job) -> None:
    """The start of both, with its imports."""
    from sides import ours

    ours.draw_adapter(job)


SIDES = {"sparkcli": ours, "TRL": theirs}


def apart(function: Callable[..., Any], *given: Any) -> Any:
    """Calls a function in a new process, where libraries draw no progress bars."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *given).result()


def prepare(asked: argparse.Namespace, folder: Path, workload: str) -> Job:
    """Writes the rollouts and the start of the adapter; says what a run is told."""
    vision = workload == "vision"
    job = Job(model=asked.model or folder / ("vision" if vision else "model"), rollouts=folder / f"{workload}.json",
              adapter=folder / f"{workload}.safetensors", vision=vision, train_vision=vision and asked.train_vision,
              device=asked.device, dtype=asked.dtype, method=asked.method, checkpointing=asked.checkpointing,
              by_group=asked.generation == "group", tile=asked.tile,
              steps=2 if asked.device == "cuda" else 1)
    if vision:
        apart(visions.write_model, job.model, asked.dtype)
        groups = apart(visions.draw_pictures, folder / "pictures", asked.groups)
        apart(visions.write_rollouts, job.rollouts, job.model, groups, job.dtype, job.device)
    else:
        shape = shape_of(asked)
        if not job.model.exists():
            apart(write_model, job.model, shape, asked.dtype, asked.device)
        groups = draw(LENGTHS[workload], asked.groups, shape.vocabulary)
        apart(write_rollouts, job.rollouts, job.model, groups, job.dtype, job.device)
    if job.method == "lora":
        apart(draw_adapter, job)
    return job


def shape_of(asked: argparse.Namespace) -> Shape:
    """Of the model that reads text."""
    return read_shape(asked.model) if asked.model else SHAPES[asked.model_size]


def checked(job: Job, folder: Path) -> dict[str, Figures]:
    """One run of each side that is not timed.

    Raises:
        RuntimeError: they did not do the same.
    """
    found, changes = {}, {}
    for name, run in SIDES.items():
        changes[name] = folder / f"{name}.change.safetensors"
        found[name] = apart(run, replace(job, steps=1, change=changes[name]))
    first = {name: figures["steps"][0] for name, figures in found.items()}
    batches, groups = first["sparkcli"]["micro_batches"], len(read_rollouts(job.rollouts))
    if batches != groups:
        raise RuntimeError(f"{groups} groups went through our side in {batches} micro-batches; one each is compared")
    check_patches(job, int(first["sparkcli"]["patches"]))
    differences = {key: relative(first["sparkcli"][key], first["TRL"][key]) for key in ("loss", "grad_norm")}
    differences["change"] = apart(distance, *changes.values())
    for key, difference in differences.items():
        limit = (CHANGE_TOLERANCE if key == "change" else TOLERANCE)[job.dtype]
        if not difference <= limit:
            values = {name: step.get(key) for name, step in first.items()}
            raise RuntimeError(f"not the same update: {key} differs by {difference:.2g} (at most {limit:g}): {values}")
    return {name: {**figures, "differences": differences} for name, figures in found.items()}


def check_patches(job: Job, patches: int) -> None:
    """Raises RuntimeError unless each group's image went through our tower once a pass."""
    once = sum(group.patches for group in read_rollouts(job.rollouts))
    if patches != 2 * once:
        raise RuntimeError(f"{patches} patches went through our vision tower in two passes over {once}")


def relative(value: float, expected: float) -> float:
    """Difference by the expected value."""
    return abs(value - expected) / abs(expected)


def distance(path: Path, expected_path: Path) -> float:
    """Norm of the difference of two files' tensors by the norm of the second's."""
    from safetensors.torch import load_file

    found, expected = load_file(path), load_file(expected_path)
    if found.keys() != expected.keys():
        raise RuntimeError(f"other weights were trained: {sorted(found.keys() ^ expected.keys())[:2]}")
    squares = sum(float((found[name] - expected[name]).double().square().sum()) for name in expected)
    return math.sqrt(squares / sum(float(tensor.double().square().sum()) for tensor in expected.values()))


def timed(job: Job, repeats: int) -> dict[str, list[Figures]]:
    """The last step of each run, by side."""
    runs: dict[str, list[Figures]] = {name: [] for name in SIDES}
    for _ in range(repeats):
        for name, run in SIDES.items():
            runs[name].append(apart(run, job)["steps"][-1])
    return runs


def work(job: Job, shape: Shape, groups: Sequence[Group]) -> dict[str, Figures]:
    """Tokens that go through body and head, once, and the floating-point operations of the whole step, by side.

    `TRL, no padding` is a trainer that computes each sample's prompt and completion without padding and scores
    completions alone.
    """
    emitted = sum(len(completion) for group in groups for completion in group.completions)
    prompts = sum(len(group.prompt) for group in groups)
    longest = [max(map(len, group.completions)) for group in groups]
    rows = SAMPLES * sum(len(group.prompt) + (own if job.by_group else max(longest))
                         for group, own in zip(groups, longest, strict=True))
    scored = emitted if job.device == "cuda" else rows - SAMPLES * len(groups)
    recomputed = {"sparkcli": job.method == "full", "TRL": True, "TRL, no padding": job.method == "full"}
    tokens = {"sparkcli": (prompts + emitted, emitted), "TRL": (rows, scored),
              "TRL, no padding": (SAMPLES * prompts + emitted, emitted)}
    patches = {name: sum(group.patches for group in groups) * (1 if name == "sparkcli" else SAMPLES)
               for name in tokens}
    return {name: {"body_tokens": body, "head_tokens": head, "patches": patches[name],
                   "flop": body * body_flop(job, shape) + head * head_flop(job, shape, recomputed[name])
                   + patches[name] * patch_flop(job, shape)}
            for name, (body, head) in tokens.items()}


def patch_flop(job: Job, shape: Shape) -> int:
    """Of one patch: reference, forward, and backward where the tower is trained; an adapter's own are left out."""
    if not isinstance(shape, visions.VisionShape):
        return 0
    trained = (1 if job.method == "lora" else 2) if job.train_vision else 0
    return 2 * shape.vision * (2 + trained + (job.checkpointing and job.train_vision))


def body_flop(job: Job, shape: Shape) -> int:
    """Of one token: reference, forward, backward; weights under an adapter get no gradient."""
    adapter = shape.adapter(job.rank) if job.method == "lora" else 0
    forward = 2 * (shape.body + adapter)
    backward = 2 * shape.body + 4 * adapter if job.method == "lora" else 4 * shape.body
    return 2 * shape.body + forward * (2 if job.checkpointing else 1) + backward


def head_flop(job: Job, shape: Shape, recomputed: bool) -> int:
    """Of one scored token: reference, forward, perhaps once more for the backward pass, gradients."""
    return 2 * shape.head * (2 + recomputed + (1 if job.method == "lora" else 2))


def compared(asked: argparse.Namespace, folder: Path, workload: str) -> Figures:
    """All figures of one workload."""
    job = prepare(asked, folder, workload)
    first = checked(replace(job, trace=asked.profile or job.device == "cpu"), folder)
    runs = timed(job, asked.repeats)
    shape = visions.SHAPE if job.vision else shape_of(asked)
    arithmetic = work(job, shape, read_rollouts(job.rollouts))
    sides = {name: side(runs[name], first[name], arithmetic[name]["flop"]) for name in SIDES}
    flop = {name: counted["flop"] for name, counted in arithmetic.items()}

    def ratio(clock: str) -> float:
        return paired_ratio(*([run[clock] for run in runs[name]] for name in ("TRL", "sparkcli")))

    return {"sides": sides, "arithmetic": arithmetic, "differences": first["TRL"]["differences"],
            "faster": ratio("seconds"), "faster_cpu": ratio("cpu_seconds"),
            "memory_share": sides["sparkcli"]["tensors_mib"] / sides["TRL"]["tensors_mib"],
            "limit": flop["TRL"] / flop["sparkcli"], "limit_no_padding": flop["TRL, no padding"] / flop["sparkcli"],
            "parts_s": parts(runs["sparkcli"]), "device": first["sparkcli"]["device"],
            **({"operators": first["sparkcli"]["operators"]} if asked.profile else {})}


def side(runs: Sequence[Figures], first: Figures, flop: int) -> Figures:
    """One side's seconds and memory."""
    step = first["steps"][0]
    return {"seconds": [run["seconds"] for run in runs], "median_s": median(run["seconds"] for run in runs),
            "median_cpu_s": median(run["cpu_seconds"] for run in runs),
            "flop_per_s": flop / median(run["seconds"] for run in runs), "tensors_mib": step["tensors_mib"],
            "resident_mib": max(run["resident_mib"] for run in runs),
            "grown_mib": median(run["grown_mib"] for run in runs), "patches": step["patches"],
            "tower_share": median(run["tower_s"] / run["seconds"] for run in runs),
            "loss": step["loss"], "grad_norm": step["grad_norm"]}


def parts(runs: Sequence[Figures]) -> dict[str, float]:
    """Median seconds of each part of our step."""
    return {part: median(run["parts"][part] for run in runs) for part in runs[0]["parts"]}


def table_rows(found: Mapping[str, Figures]) -> list[list[str]]:
    """A line a figure, a column a side."""
    lines: dict[str, list[str]] = {}

    def line(title: str, *values: str) -> None:
        lines.setdefault(title, []).extend(values)

    for workload, figures in found.items():
        sides, (faster, share) = figures["sides"].values(), AIMS[workload]
        work_of = [figures["arithmetic"][name] for name in figures["sides"]]
        line("seconds", *(f"{side['median_s']:.2f}" for side in sides))
        line("processor seconds", *(f"{side['median_cpu_s']:.2f}" for side in sides))
        line("times as fast", f"{figures['faster']:.2f}", f"aim {faster}")
        line("by processor time", f"{figures['faster_cpu']:.2f}", "")
        line("limit", f"{figures['limit']:.2f}", "")
        line("limit, no padding", f"{figures['limit_no_padding']:.2f}", "")
        line("tensors, MiB", *(f"{side['tensors_mib']:,.0f}" for side in sides))
        line("share", f"{figures['memory_share']:.2f}", f"aim {share}")
        line("RSS grew, MiB", *(f"{side['grown_mib']:,.0f}" for side in sides))
        line("RSS peak, MiB", *(f"{side['resident_mib']:,.0f}" for side in sides))
        line("patches in tower", *(f"{side['patches']:,.0f}" for side in sides))
        line("tower's share", *(f"{side['tower_share']:.0%}" for side in sides))
        line("tokens in body", *(f"{counted['body_tokens']:,}" for counted in work_of))
        line("tokens in head", *(f"{counted['head_tokens']:,}" for counted in work_of))
        line("TFLOP", *(f"{counted['flop'] / 1e12:,.2f}" for counted in work_of))
        line("GFLOP/s", *(f"{side['flop_per_s'] / 1e9:,.0f}" for side in sides))
    return [[title, *values] for title, values in lines.items()]


def main() -> None:
    """Times, prints, and writes the figures if asked."""
    asked = arguments()
    os.environ |= {"OMP_NUM_THREADS": str(asked.threads), "HF_HUB_DISABLE_PROGRESS_BARS": "1", "KINETO_LOG_LEVEL": "9"}
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # TRL would spread the model over several
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        found = {workload: compared(asked, folder, workload) for workload in asked.workloads}
    settings = {"model": str(asked.model or asked.model_size), "dtype": asked.dtype, "method": asked.method,
                "groups": asked.groups, "checkpointing": asked.checkpointing, "generation": asked.generation,
                "tile": asked.tile, "train_vision": asked.train_vision, "threads": asked.threads}
    print(", ".join(f"{key} {value}" for key, value in settings.items()))
    report("one update on stored rollouts", ["", *(f"{workload}\n{name}" for workload in found for name in SIDES)],
           table_rows(found), {"settings": settings, **found}, asked.json, device=next(iter(found.values()))["device"])
    for workload, figures in found.items():
        spent = ", ".join(f"{part} {seconds:.2f}" for part, seconds in figures["parts_s"].items())
        differences = ", ".join(f"{key} {value:.1e}" for key, value in figures["differences"].items())
        print(f"{workload}: seconds of our step: {spent}; relative differences: {differences}")
        if asked.profile:
            print(figures["operators"])


if __name__ == "__main__":
    main()
