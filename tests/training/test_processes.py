"""Processes that train together find what one finds. Two real ones on the CPU (gloo), copies and shards (FSDP2)."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.models.vision import write_pictures, write_vision_model
from tests.training.visions import rollouts

from sparkcli.config import ModelConfig, TrainConfig
from sparkcli.errors import UsageError
from sparkcli.files.jsonl import read
from sparkcli.models.policy import load
from sparkcli.records import Scored, dumps
from sparkcli.training.metrics import MACHINE
from sparkcli.training.processes import ALONE, Processes
from sparkcli.training.samples import Sample
from sparkcli.training.step import Trainer

WORKER = Path(__file__).parent / "process_worker.py"
SOURCES = Path(__file__).parents[2] / "src"
LORA = {"method": "lora", "lora_rank": 4, "lora_alpha": 8, "lr": 1e-3, "updates": 2, "kl": 0.1, "entropy_bonus": 0.01,
        "correction": "truncate", "allow_stale": True, "tokens_per_batch": 60}
FULL = {**LORA, "method": "full"}
ONE = {"updates": 1}
"""For models with many weights: some have a gradient near 0, and AdamW's first step goes by its sign."""
LAYOUT = ("micro_batches", "padding_share", "attention_padding_share", *MACHINE)
"""What may depend on the number of processes."""

JOBS: dict[str, dict[str, Any]] = {
    "lora": {"config": LORA},
    "full": {"config": FULL},
    "recomputed": {"config": {**FULL, "gradient_checkpointing": True}},
    "every mean": {"config": {**LORA, "loss": "gspo", "kl_in": "reward", "kl_estimator": "k1"}},
    "one group": {"config": {**LORA, "updates": 1}, "records": "one"},
    "nothing to learn": {"config": LORA, "records": "nothing"},
    "text alone": {"config": {**LORA, "score_missing": True}, "records": "text"},
    "lora, second call": {"config": LORA, "policy": "lora"},
    "full, second call": {"config": FULL, "policy": "full"},
    "images": {"config": {**LORA, **ONE}, "records": "images"},
    "images, vision trained": {"config": {**FULL, **ONE, "train_vision": True}, "records": "images"},
    "images, vision adapted": {"config": {**LORA, **ONE, "train_vision": True, "gradient_checkpointing": True},
                               "records": "images"},
    "one image of three": {"config": {**FULL, **ONE, "train_vision": True}, "records": "one image"},
}
"""What is trained: on `ragged` groups, on the model as it is, unless something else is said. Records with images are of
a vision-language model; a process that computes groups without any must not keep the others waiting."""
CASES = [(name, shards) for name in JOBS for shards in (False, True)]


def outcome(folder: Path, name: str, kind: str) -> Path:
    return folder / f"{name.replace(' ', '-').replace(',', '')}-{kind}"


def two_processes(*arguments: str) -> None:
    """Runs the worker twice, and fails with what it said.

    A process that a signal ended is given one more chance, and said so: gloo's threads let go of tensors beside the
    interpreter, and once in some hundred runs on a busy machine torch 2.13 crashes there. Nothing else is repeated.
    """
    codes, said = launched(*arguments)
    if min(codes) < 0:
        print(f"a signal ended a process ({codes}), and all began again; it said:", *said, sep="\n")
        codes, said = launched(*arguments)
    assert codes == [0, 0], "\n".join(said)


def launched(*arguments: str) -> tuple[list[int], list[str]]:
    """Exit codes of two workers, and what they said."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
              "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCES), "PYTHONFAULTHANDLER": "1"}
    running = [subprocess.Popen([sys.executable, str(WORKER), *arguments], stderr=subprocess.PIPE, text=True,
                                env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(2)]
    said = [process.communicate()[1] for process in running]
    return [process.returncode for process in running], said


@pytest.fixture(scope="module")
def trained(model_folder: Path, tmp_path_factory: pytest.TempPathFactory, phase: Callable[..., list[Scored]]) -> Path:
    """A folder with what two processes made of every job."""
    folder = tmp_path_factory.mktemp("processes")
    nothing = [dataclasses.replace(record, reward=1.0) for record in phase(groups=2)]
    text = [dataclasses.replace(record, completion=f"w{3 + n}", logprobs=None, token_ids=None if n % 3 else
                                record.token_ids) for n, record in enumerate(phase(groups=5))]
    vision = write_vision_model(folder / "vision")
    pictures = write_pictures(folder / "pictures")
    shown = [dataclasses.replace(record, id=f"{record.id}/{seed}") for seed in range(2) for record
             in rollouts(load(ModelConfig(name=str(vision), device="cpu")), pictures, seed=seed)]
    inputs = {"ragged": phase(groups=7), "one": phase(groups=1), "nothing": nothing, "text": text, "images": shown,
              "one image": [record for record in shown if record.id in ("one/0", "none/0", "none/1")]}
    for name, records in inputs.items():
        (folder / f"{name}.jsonl").write_bytes(b"".join(map(dumps, records)))
    jobs = []
    for name, shards in CASES:
        job = JOBS[name]
        policy = outcome(folder, job["policy"], "shards" if shards else "copies") if "policy" in job else None
        jobs.append({"model": str(model_of(folder, job, model_folder)), "shards": shards,
                     "policy": str(policy) if policy else None,
                     "records": str(folder / f"{job.get('records', 'ragged')}.jsonl"), "config": job["config"],
                     "out": str(outcome(folder, name, "shards" if shards else "copies"))})
    (folder / "jobs.json").write_text(json.dumps(jobs))
    two_processes(str(folder / "jobs.json"))
    return folder


def model_of(folder: Path, job: dict[str, Any], model: Path) -> Path:
    """The model that a job trains."""
    return folder / "vision" if "image" in job.get("records", "") else model


def alone(folder: Path, model: Path, name: str, out: Path, policy: Path | None = None) -> dict[str, Any]:
    """The same job in this process."""
    job = JOBS[name]
    model = model_of(folder, job, model)
    trainer = Trainer(load(ModelConfig(name=str(model), policy=str(policy) if policy else None, device="cpu")),
                      TrainConfig(**job["config"]))
    metrics = trainer.step(list(read(str(folder / f"{job.get('records', 'ragged')}.jsonl"), Scored)))
    trainer.save(out)
    return metrics


def without(metrics: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if name not in names}


def assert_near(found: Any, expected: Any, place: str) -> None:
    """Numbers agree to 1e-5, in tensors to that share of the largest; everything else is equal."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), place
        for name, value in expected.items():
            assert_near(found[name], value, f"{place}.{name}")
    elif isinstance(expected, torch.Tensor):
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max(), place
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6), place
    else:
        assert found == expected, place


def tensors(policy: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Weights, and the optimiser's state, of which the first moments are the gradients' mean."""
    return {path.name: load_file(path) for path in policy.glob("*.safetensors")}


def names(policy: Path) -> dict[str, set[str]]:
    """Of all tensors, by file."""
    return {file: set(found) for file, found in tensors(policy).items()}


def moments(policy: Path) -> torch.Tensor:
    """The gradient of the only update, of all weights in a row."""
    state = load_file(policy / "optimizer.safetensors")
    return torch.cat([state[name].flatten() for name in sorted(state) if name.endswith(".exp_avg")])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shards"), CASES)
def test_two_processes_find_what_one_finds(trained: Path, model_folder: Path, tmp_path: Path, name: str,
                                           shards: bool) -> None:
    kind = "shards" if shards else "copies"
    found = outcome(trained, name, kind)
    before = outcome(trained, JOBS[name]["policy"], kind) if "policy" in JOBS[name] else None
    expected = alone(trained, model_folder, name, tmp_path / "alone", before)
    metrics = [json.loads(Path(f"{found}.{rank}.json").read_text()) for rank in range(2)]
    assert without(metrics[0], MACHINE) == without(metrics[1], MACHINE)
    assert_near(without(metrics[0], LAYOUT), without(expected, LAYOUT), "metrics")
    compared = moments if "image" in name else tensors
    assert_near(compared(found), compared(tmp_path / "alone"), "policy")
    assert names(found) == names(tmp_path / "alone")
    assert {path.name for path in found.iterdir()} == {path.name for path in (tmp_path / "alone").iterdir()}
    assert metrics[0]["updates"] == (0 if name == "nothing to learn" else JOBS[name]["config"]["updates"])


def test_shares_are_whole_parts_of_like_weight(sample: Callable[..., Sample]) -> None:
    parts = [[sample(id=str(i), number=n, prompt=5 + i, completion=1 + 7 * i % 11) for n in range(4)]
             for i in range(13)]
    shares = Processes(count=4).share(parts)
    assert sorted(part[0].id for share in shares for part in share) == sorted(part[0].id for part in parts)
    loads = [sum(len(part[0].prompt_T) + sum(len(s.completion_T) for s in part) for part in share) for share in shares]
    assert max(loads) < 1.34 * sum(loads) / 4
    assert ALONE.share(parts) == [parts]


def test_fewer_parts_than_processes(sample: Callable[..., Sample]) -> None:
    assert list(map(len, Processes(count=3).share([[sample()]]))) == [1, 0, 0]
    assert Processes(count=2).share([]) == [[], []]


def test_weights_that_are_cut_are_loaded_on_the_cpu_in_the_precision_of_the_gpu(model_folder: Path) -> None:
    model = ModelConfig(name=str(model_folder))
    gpu = torch.device("cuda", 1)
    shards = Processes(rank=1, count=2, device=gpu, plugin=object())
    assert shards.placed(model) == dataclasses.replace(model, device="cpu", dtype="float32")  # the checkpoint's
    assert shards.placed(dataclasses.replace(model, dtype="bfloat16")).dtype == "bfloat16"
    assert Processes(rank=1, count=2, device=gpu).placed(model) == dataclasses.replace(model, device="cuda:1")
    assert ALONE.placed(model) == model


@pytest.mark.parametrize(("environ", "device", "told"), [
    ({"ACCELERATE_USE_DEEPSPEED": "true"}, "auto", "accelerate is configured for DeepSpeed"),
    ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "1"}, "auto", "accelerate is configured for FSDP 1"),
    ({}, "cuda:1", "--device cuda:1: each process takes a GPU of its own"),
])
def test_what_is_refused_before_the_processes_meet(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str],
                                                   device: str, told: str) -> None:
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", **environ}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", "true")  # what join sets is undone
    with pytest.raises(UsageError, match=told):
        Processes.join(device)
