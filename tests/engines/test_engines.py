"""The contract, on the engines that need nothing installed."""

from pathlib import Path

import pytest
from tests.engines.contract import EngineContract, FaithfulContract

from sparkcli.config import ModelConfig


class TestScripted(EngineContract):
    @pytest.fixture
    def model(self, model_folder: Path) -> ModelConfig:
        return ModelConfig(name=str(model_folder), engine="scripted")


class TestTransformers(FaithfulContract):
    @pytest.fixture
    def model(self, model_folder: Path) -> ModelConfig:
        return ModelConfig(name=str(model_folder), engine="transformers", device="cpu")
