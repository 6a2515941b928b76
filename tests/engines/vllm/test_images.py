"""What vLLM is given of images, and how what it makes of them is checked. On real vLLM: tests/vllm/test_images.py."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.models.tiny import load_tiny
from tests.models.vision import PICTURES, write_pictures, write_vision_model

from sparkcli.config import ModelConfig
from sparkcli.engines.vllm.images import difference, processing, put
from sparkcli.engines.vllm.settings import names_normalisation, reaches_images
from sparkcli.models.prompts import encode
from sparkcli.models.reader import Reader, load_reader
from sparkcli.records import Prompt


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vision_model(tmp_path_factory.mktemp("sees") / "model")


@pytest.fixture(scope="module")
def reader(folder: Path) -> Reader:
    return load_tiny(folder).reader


def test_a_placeholder_for_each_image_and_the_pictures_as_they_are(reader: Reader, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path)
    prompt = Prompt(id="two", prompt="Which?", images=(pictures["large"], pictures["odd"]))
    given, expanded = put(prompt, reader), encode(prompt, reader).token_ids
    marker = reader.processor.image_token_id  # type: ignore[union-attr]
    assert given["prompt_token_ids"].count(marker) == 2
    assert [i for i in given["prompt_token_ids"] if i != marker] == [i for i in expanded if i != marker]
    assert [image.size for image in given["multi_modal_data"]["image"]] == [PICTURES["large"], PICTURES["odd"]]


@pytest.mark.parametrize(("most", "size"), [(1 << 20, (32 * 32, 128 * 128)), (48 * 48, (32 * 32, 48 * 48)),
                                            (100, (100, 100))])
def test_the_processor_is_told_our_limits(folder: Path, most: int, size: tuple[int, int]) -> None:
    reader = load_reader(folder, ModelConfig(name=str(folder), max_pixels=most))
    assert processing(reader) == {"size": {"shortest_edge": size[0], "longest_edge": size[1]}}


def test_pictures_are_scaled_down_for_a_processor_without_limits(reader: Reader, tmp_path: Path) -> None:
    class Plain:
        def __init__(self, known: Any) -> None:
            self.known = known
            self.image_processor = type("Images", (), {"valid_kwargs": type("Known", (), {"__annotations__": {}})})

        def __getattr__(self, name: str) -> Any:
            return getattr(self.known, name)

    plain = replace(reader, processor=Plain(reader.processor), max_pixels=600)
    prompt = Prompt(id="large", prompt="?", images=(write_pictures(tmp_path)["large"],))
    given = put(prompt, plain)
    assert given["mm_processor_kwargs"] == {}
    assert [image.size for image in given["multi_modal_data"]["image"]] == [(30, 20)]


def test_other_tokens_are_told_apart() -> None:
    assert difference([1, 2, 3], [1, 2, 3]) is None
    assert "(as 2 tokens, not 3)" in (difference([1, 2, 3], [1, 2]) or "")
    assert "(as 3 tokens, not 3)" in (difference([1, 2, 3], [1, 2, 4]) or "")
    assert "(as tokens that it does not tell, not 3)" in (difference([1, 2, 3], None) or "")


@pytest.mark.parametrize(("stored", "named"), [
    ({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}, True), ({"image_mean": [0.5] * 3}, False), ({}, False)])
def test_whether_a_folder_says_how_images_are_normalised(stored: dict[str, Any], named: bool, tmp_path: Path) -> None:
    assert not names_normalisation(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(stored))
    assert names_normalisation(tmp_path) == named


def test_adapters_of_models_that_read_text_only_reach_no_images(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert not reaches_images(tmp_path, tmp_path / "adapter")
