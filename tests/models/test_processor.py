"""Processors of vision-language models, with and without torchvision."""

import json
import logging
from pathlib import Path

import pytest
from tests.models.tiny import write_model
from tests.models.vision import MOST_PIXELS, write_vision_model
from transformers import AutoProcessor

from sparkcli.config import ModelConfig
from sparkcli.models.network import load_architecture
from sparkcli.models.processor import counts_pixels, load_processor


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vision_model(tmp_path_factory.mktemp("model"), kind=request.param)


def loaded(folder: Path, max_pixels: int = 1 << 20) -> object:
    config = ModelConfig(name=str(folder), max_pixels=max_pixels)
    return load_processor(folder, config, load_architecture(folder, config))


def test_it_is_the_class_that_the_folder_names(folder: Path) -> None:
    processor = loaded(folder)
    assert processor is not None
    assert type(processor).__name__ == json.loads((folder / "preprocessor_config.json").read_text())["processor_class"]
    assert counts_pixels(processor)


def test_what_videos_take_is_not_needed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ImportError("requires the Torchvision library")

    monkeypatch.setattr(AutoProcessor, "from_pretrained", refuse)
    processor = loaded(folder)
    assert processor is not None and processor.video_processor is None  # type: ignore[attr-defined]
    assert processor.chat_template  # type: ignore[attr-defined]


@pytest.mark.parametrize(("most", "expected"), [
    (1 << 20, {"shortest_edge": 1024, "longest_edge": MOST_PIXELS}),
    (4096, {"shortest_edge": 1024, "longest_edge": 4096}),
    (256, {"shortest_edge": 256, "longest_edge": 256}),
])
def test_the_largest_size_is_the_smaller_of_its_own_and_ours(
    folder: Path, most: int, expected: dict[str, int]
) -> None:
    size = loaded(folder, most).image_processor.size  # type: ignore[attr-defined]
    assert {edge: size[edge] for edge in expected} == expected


def test_a_model_that_reads_text_has_none(tmp_path: Path) -> None:
    assert loaded(write_model(tmp_path)) is None


def test_one_that_cannot_be_loaded_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_vision_model(tmp_path)
    (folder / "preprocessor_config.json").unlink()
    with caplog.at_level(logging.WARNING):
        assert loaded(folder) is None
    assert "its image processor cannot be loaded, so it reads text only" in caplog.text
