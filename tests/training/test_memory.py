"""Real allocation failures: the update is cut smaller and ends with the same gradient. Peaks are the system's."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sparkcli.errors import SparkError
from sparkcli.models.memory import is_out_of_memory
from sparkcli.training.batches import MicroBatch, Part
from sparkcli.training.memory import MIB, Budget, read_peak, reset_peak
from sparkcli.training.samples import Sample

CPU = torch.device("cpu")


def environment() -> dict[str, str]:
    """Of a Python process that finds the package and the tests."""
    return {**os.environ, "PYTHONPATH": f"src{os.pathsep}."}


@pytest.fixture
def parts() -> list[Part]:
    """Four groups of two samples, 20 tokens each group."""
    return [[Sample(id=f"p{g}", number=n, task="solve", prompt_T=(1,) * 10, completion_T=(2,) * 5, reward=1.0,
                    logprobs_T=(-1.0,) * 5, temperature=1.0) for n in range(2)] for g in range(4)]


@pytest.fixture
def starved(model_folder: Path, tmp_path: Path, repository: Path) -> Callable[[int, int], tuple[Path, int, str]]:
    """Runs an update in a process that may grow by so many MiB: its weights, exit code, and what it printed."""
    if sys.platform != "linux":
        pytest.skip("address space can be limited on Linux alone")

    def run(mebibytes: int, length: int) -> tuple[Path, int, str]:
        out = tmp_path / f"{mebibytes}"
        process = subprocess.run(
            [sys.executable, "-m", "tests.training.starved", str(model_folder), str(out), str(mebibytes), str(length)],
            cwd=repository, env=environment(), capture_output=True, text=True, timeout=120, check=False)
        return out, process.returncode, process.stdout + process.stderr

    return run


def test_an_update_that_runs_out_of_memory_ends_with_the_same_gradient(
        starved: Callable[[int, int], tuple[Path, int, str]]) -> None:
    expected, _, plain = starved(0, 180)
    found, code, halved = starved(5, 180)
    assert plain.split() == ["1"]
    assert code == 0, halved
    assert int(halved.split()[0]) > 1
    assert "WARNING out of memory in a forward pass of 12160 tokens; going on with --tokens-per-batch 6080" in halved
    state = load_file(found / "optimizer.safetensors")  # its moments are the gradient's; weights moved by its sign
    for name, tensor in load_file(expected / "optimizer.safetensors").items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=1e-5 * float(tensor.abs().max()))


def test_a_sample_that_does_not_fit_alone_is_named(starved: Callable[[int, int], tuple[Path, int, str]]) -> None:
    out, code, printed = starved(30, 5000)
    assert code == 1
    assert "prompt 'p0', sample 0: out of memory on this sample alone, 5040 tokens" in printed
    assert not out.exists()


def test_half_done_work_is_undone_and_done_again(parts: list[Part]) -> None:
    done: list[str] = []

    def compute(batch: MicroBatch) -> int:
        done.extend(sample.name for sample in batch.samples)
        if batch.tokens > 45:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return batch.tokens

    budget = Budget(60)
    assert budget.spend(parts, compute, undo=done.clear) == [20] * 4
    assert sorted(done) == sorted(sample.name for part in parts for sample in part)
    assert budget.tokens == 30
    assert budget.spend(parts, compute) == [20] * 4, "the smaller budget stays"


def test_halving_starts_from_what_failed(parts: list[Part]) -> None:
    """A budget far above the micro-batch would have to be halved many times before anything changes."""
    tries: list[int] = []

    def compute(batch: MicroBatch) -> None:
        tries.append(batch.tokens)
        if batch.tokens > 20:
            raise MemoryError

    Budget(10**9).spend(parts, compute)
    assert tries == [80, 40, 20, 20, 20, 20]


def test_other_errors_pass(parts: list[Part]) -> None:
    def compute(batch: MicroBatch) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        Budget(100).spend(parts, compute)


def test_samples_go_alone_before_the_budget_gives_up(parts: list[Part]) -> None:
    def compute(batch: MicroBatch) -> None:
        raise MemoryError

    with pytest.raises(SparkError, match=r"prompt 'p\d', sample \d: out of memory .* try --gradient-checkpointing"):
        Budget(100).spend(parts, compute)


@pytest.mark.parametrize(("error", "expected"), [
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), True),
    (MemoryError(), True),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried to "
                  "allocate 999 bytes. Error code 12 (Cannot allocate memory)"), True),
    (RuntimeError("MPS backend out of memory (MPS allocated: 18 GB)"), True),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
    (RuntimeError("shapes cannot be multiplied"), False),
    (ValueError("out of memory"), False),
])
def test_which_errors_mean_that_memory_ran_out(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_a_real_failed_allocation_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**61, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak cannot be reset")
def test_the_peak_is_that_since_the_reset() -> None:
    torch.ones(64 * MIB // 4)
    before = read_peak(CPU)
    reset_peak(CPU)
    floor = read_peak(CPU)
    torch.ones(16 * MIB // 4)
    after = read_peak(CPU)
    assert before is not None and floor is not None and after is not None
    assert floor < before
    assert 8 * MIB < after - floor < 32 * MIB


def test_the_peak_is_unknown_where_nobody_counts() -> None:
    assert read_peak(torch.device("meta")) is None
