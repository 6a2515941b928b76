"""The contract on prompts with images, on the transformers engine."""

from pathlib import Path
from typing import ClassVar

import pytest
from tests.engines.vision_contract import VisionContract
from tests.models.vision import Kind

from sparkcli.config import ModelConfig


class TestQwen25VL(VisionContract):
    tolerance: ClassVar[float] = 2e-5

    @pytest.fixture
    def model(self, folder: Path) -> ModelConfig:
        return ModelConfig(name=str(folder), engine="transformers", device="cpu")


class TestQwen3VL(TestQwen25VL):
    kind: ClassVar[Kind] = "qwen3_vl"
