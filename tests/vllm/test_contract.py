"""The contract, on vLLM in this process."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from tests.engines.contract import CONFIG, Contract, FaithfulContract, assert_same_but_for_rounding
from tests.engines.vision_contract import VisionContract
from tests.models.vision import Kind

from sparkcli.config import ModelConfig, TrainConfig
from sparkcli.engines.base import Engine
from sparkcli.engines.vllm.engine import VLLMEngine
from sparkcli.records import Rollout


class Shared(Contract):
    """One engine for all tests, since opening one takes seconds: it is told which policy to load.

    What vLLM has computed of a prompt before, it does not compute again, so calls differ by rounding.
    """

    engine: VLLMEngine

    @staticmethod
    def shared_by(folder: Path) -> VLLMEngine:
        return VLLMEngine(ModelConfig(name=str(folder)), CONFIG, beside_trainer=False,
                          trained=TrainConfig(lora_rank=4))

    def opened(self, model: ModelConfig) -> Engine:
        self.engine.load_policy(Path(model.policy) if model.policy else None)
        return self.engine

    def released(self, engine: Engine) -> None:
        pass

    def assert_same(self, a: list[list[Rollout]], b: list[list[Rollout]]) -> None:
        assert_same_but_for_rounding(a, b)


class TestVLLM(Shared, FaithfulContract):

    @pytest.fixture
    def model(self, model_folder: Path) -> ModelConfig:
        return ModelConfig(name=str(model_folder), engine="vllm")

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def shared(cls, model_folder: Path) -> Iterator[None]:
        cls.engine = cls.shared_by(model_folder)
        yield
        cls.engine.close()


class TestQwen25VL(Shared, VisionContract):
    tolerance: ClassVar[float] = 1e-4

    @pytest.fixture
    def model(self, folder: Path) -> ModelConfig:
        return ModelConfig(name=str(folder), engine="vllm")

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def shared(cls, folder: Path) -> Iterator[None]:
        cls.engine = cls.shared_by(folder)
        yield
        cls.engine.close()


class TestQwen3VL(TestQwen25VL):
    kind: ClassVar[Kind] = "qwen3_vl"
