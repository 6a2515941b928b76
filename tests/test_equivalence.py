"""The loop does what the pipeline of separate commands does: `recipes/spark.sh` writes the same bytes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

OF_THE_LOOP_ALONE = {"heldout", "lock", "metrics.jsonl", "recipe.toml", "state.json", "summary.json", "timings.jsonl"}
OF_THE_PIPELINE_ALONE = {"order.jsonl"}

SETTINGS = {"LOOP_STEPS": "3", "LOOP_PROMPTS_PER_STEP": "4", "LOOP_QUEUE_BATCH": "8", "LOOP_KEEP": "9",
            "MODEL_ENGINE": "scripted", "EVAL_LIMIT": "2", "EVAL_SCALING_LIMIT": "2", "LOOP_SEED": "3"}


def ran(*command: str, repository: Path, **settings: str) -> None:
    """Runs a command with settings from the environment; the program is the one of these sources."""
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
               **{f"SPARKCLI_{name}": value for name, value in {**SETTINGS, **settings}.items()}}
    done = subprocess.run(command, cwd=repository, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def contents(folder: Path, but: set[str]) -> dict[str, bytes]:
    """Every file below `folder`, but those whose path begins with one of the names."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path): (folder / path).read_bytes() for path in files if path.parts[0] not in but}


def both(folder: Path, repository: Path, recipe: str = "recipes/quickstart.toml",
         **settings: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """What the pipeline and the loop write, each once."""
    ran("recipes/spark.sh", recipe, repository=repository, LOOP_OUT=str(folder / "pipeline"), **settings)
    ran("sparkcli", "loop", recipe, repository=repository, LOOP_OUT=str(folder / "loop"), **settings)
    return contents(folder / "pipeline", OF_THE_PIPELINE_ALONE), contents(folder / "loop", OF_THE_LOOP_ALONE)


@pytest.mark.slow
def test_pipeline_and_loop_write_the_same_bytes(tmp_path: Path, repository: Path) -> None:
    pipeline, loop = both(tmp_path, repository)
    recycled_updates = [f"steps/{step:06d}/again-scored.jsonl" in loop for step in (1, 2, 3)]
    assert recycled_updates == [False, True, True], "the queue is too short at first"
    assert "policy/000003/model.safetensors" in loop
    assert sorted(pipeline) == sorted(loop)
    assert [name for name in loop if loop[name] != pipeline[name]] == []


@pytest.mark.slow
def test_so_they_do_with_an_adapter_and_a_network_that_is_sampled(tmp_path: Path, repository: Path) -> None:
    pipeline, loop = both(tmp_path, repository, LOOP_STEPS="1", LOOP_QUEUE_BATCH="4", MODEL_ENGINE="transformers",
                          TRAIN_METHOD="lora")
    assert {"steps/000001/again-scored.jsonl", "policy/000001/adapter_model.safetensors"} <= loop.keys()
    assert sorted(pipeline) == sorted(loop)
    assert [name for name in loop if loop[name] != pipeline[name]] == []


@pytest.mark.slow
def test_so_they_do_with_pictures(tmp_path: Path, repository: Path) -> None:
    pipeline, loop = both(tmp_path, repository, "recipes/quickstart-vision.toml", LOOP_STEPS="1", LOOP_QUEUE_BATCH="4",
                          MODEL_ENGINE="transformers")
    assert {"steps/000001/again-scored.jsonl", "policy/000001/model.safetensors"} <= loop.keys()
    assert sorted(pipeline) == sorted(loop)
    assert [name for name in loop if loop[name] != pipeline[name]] == []


@pytest.mark.slow
def test_a_failing_stage_ends_the_pipeline(tmp_path: Path, repository: Path) -> None:
    with pytest.raises(AssertionError, match="no/such/model"):
        ran("recipes/spark.sh", repository=repository, LOOP_OUT=str(tmp_path / "run"), MODEL_NAME="no/such/model",
            MODEL_ENGINE="transformers")
    assert not (tmp_path / "run" / "policy" / "000001").exists()
