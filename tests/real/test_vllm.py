"""vLLM loads what `export` wrote of a real model, and says the same: the second half of `make test-real`."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.commands.conftest import Result
from tests.real.conftest import EXPORTED, read_rows
from tests.real.forward import greedy, load_plain, logprobs_of

LOGPROB = 1e-3
"""How far a log-prob of vLLM's kernels may be from a float32 forward pass by transformers."""


@pytest.mark.slow
def test_it_samples_the_exported_policy(prompts: Path, stage: Callable[..., Result], work: Path) -> None:
    if not EXPORTED.is_dir():
        pytest.skip("no exported policy: `make test-real` leaves one before this runs")
    stage("rollout", prompts, "-m", EXPORTED, "--engine", "vllm", "-n", "2", "--temperature", "0", "--max-tokens", "24",
          "-o", work / "rollouts.jsonl")
    rows, plain = read_rows(work / "rollouts.jsonl"), load_plain(EXPORTED)
    for row, expected in zip(rows, logprobs_of(plain, rows), strict=True):
        assert row["logprobs"] == pytest.approx(expected, abs=LOGPROB)
    assert rows[0]["token_ids"] == greedy(plain, rows[0])
