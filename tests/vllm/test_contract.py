"""The contract, on vLLM in this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engines.contract import CONFIG, FaithfulContract, assert_same_but_for_rounding

from sparkcli.config import ModelConfig, TrainConfig
from sparkcli.engines.base import Engine
from sparkcli.engines.vllm.engine import VLLMEngine
from sparkcli.records import Rollout


class TestVLLM(FaithfulContract):
    """One engine for all tests, since opening one takes seconds: it is told which policy to load.

    What vLLM has computed of a prompt before, it does not compute again, so calls differ by rounding.
    """

    @pytest.fixture
    def model(self, model_folder: Path) -> ModelConfig:
        return ModelConfig(name=str(model_folder), engine="vllm")

    engine: VLLMEngine

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def shared(cls, model_folder: Path) -> Iterator[None]:
        cls.engine = VLLMEngine(ModelConfig(name=str(model_folder)), CONFIG, beside_trainer=False,
                                trained=TrainConfig(lora_rank=4))
        yield
        cls.engine.close()

    def opened(self, model: ModelConfig) -> Engine:
        self.engine.load_policy(Path(model.policy) if model.policy else None)
        return self.engine

    def released(self, engine: Engine) -> None:
        pass

    def assert_same(self, a: list[list[Rollout]], b: list[list[Rollout]]) -> None:
        assert_same_but_for_rounding(a, b)
