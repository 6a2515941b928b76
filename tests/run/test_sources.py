"""Prompts of a run that come with images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from tests.models.vision import write_pictures, write_vision_model

from sparkcli.records import Prompt, Rollout
from sparkcli.run.state import read_all


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table that holds its images as bytes, as `datasets` writes them."""
    paths = [Path(path) for path in write_pictures(tmp_path / "pictures").values()]
    rows: list[dict[str, Any]] = [{"question": f"How many, {number}?", "answer": str(number), "image": {
        "bytes": paths[number % len(paths)].read_bytes(), "path": None}} for number in range(12)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


@pytest.mark.slow
def test_a_run_keeps_the_images_of_a_table_and_trains_on_them(runs: Callable[..., Path], table: Path,
                                                              tmp_path: Path) -> None:
    model = write_vision_model(tmp_path / "model", eos_bias=0.5)
    folder = runs(loop__prompts=str(table), loop__steps=2, eval__prompts=str(table), model__name=str(model),
                  model__engine="transformers", rollout__max_tokens=8, train__method="lora", verify__verifier="exact")
    images = {str(path) for path in (folder / "images").iterdir()}
    prompts = read_all(folder / "prompts.jsonl", Prompt)
    assert len(images) > 1 and {prompt.images[0] for prompt in prompts} <= images
    assert [r.error for r in read_all(folder / "steps/000001/rollouts.jsonl", Rollout) if r.error] == []
    assert (folder / "policy/000002/adapter_model.safetensors").is_file()
