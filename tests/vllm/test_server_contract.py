"""The contract, on the openai engine at a real vLLM server that `sparkcli serve` started."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from tests.engines.contract import CONFIG, Contract, FaithfulContract, assert_same_but_for_rounding
from tests.engines.openai import faulty
from tests.engines.openai.faulty import Proxy, serving
from tests.engines.vision_contract import VisionContract
from tests.models.vision import Kind
from tests.vllm.server import Server

from sparkcli.config import ModelConfig, ServerConfig, TrainConfig
from sparkcli.engines import open_engine
from sparkcli.engines.base import Engine
from sparkcli.engines.openai import policies
from sparkcli.errors import UsageError
from sparkcli.models.policy import add_adapter, load, save
from sparkcli.records import Prompt, Rollout


class AtServer(Contract):
    """Batches of a server depend on the clock, so two calls agree but for rounding."""

    url: str
    engines: contextlib.ExitStack
    """Ends every engine that a test opens."""

    def opened(self, model: ModelConfig) -> Engine:
        server = ServerConfig(base_url=(self.url,), sync_adapters=True, retries=12)
        return self.engines.enter_context(contextlib.closing(open_engine(model, CONFIG, server)))

    def assert_same(self, a: list[list[Rollout]], b: list[list[Rollout]]) -> None:
        assert_same_but_for_rounding(a, b)


class TestServer(AtServer, FaithfulContract):

    @pytest.fixture(autouse=True)
    def at(self, servers: Callable[..., Server], model_folder: Path) -> Iterator[None]:
        self.url = servers(model_folder).base_url
        with contextlib.ExitStack() as self.engines:
            yield

    @pytest.fixture
    def model(self, model_folder: Path) -> ModelConfig:
        return ModelConfig(name=str(model_folder), engine="openai")


class TestServerThatSees(AtServer, VisionContract):
    kind: ClassVar[Kind] = "qwen3_vl"
    tolerance: ClassVar[float] = 1e-4

    @pytest.fixture(autouse=True)
    def at(self, servers: Callable[..., Server], folder: Path) -> Iterator[None]:
        self.url = servers(folder).base_url
        with contextlib.ExitStack() as self.engines:
            yield

    @pytest.fixture
    def model(self, folder: Path) -> ModelConfig:
        return ModelConfig(name=str(folder), engine="openai")

    def test_images_that_the_server_reads_otherwise_are_the_error_of_their_prompt(
        self, model: ModelConfig, prompts: list[Prompt]
    ) -> None:
        smaller = replace(model, max_pixels=48 * 48)
        groups = self.run(smaller, prompts)
        errors = {group[0].id: group[0].error for group in groups}
        assert errors["none"] is None and errors["inline"] is None  # small enough for both
        assert "the server reads its images otherwise (as 48 tokens, not 41): " in (errors["one"] or "")

    def test_a_folder_that_does_not_say_how_images_are_normalised_needs_a_server_that_asks_transformers(
        self, model: ModelConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(policies, "names_normalisation", lambda folder: False)
        self.opened(model)

        async def silent(server: object) -> dict[str, object]:
            return {}

        monkeypatch.setattr(policies, "_settings", silent)
        with pytest.raises(UsageError, match=r"mean and deviation .* which names none; .*sparkcli serve"):
            self.opened(model)

    def test_an_adapter_of_what_reads_images_is_not_sampled_in_part(
        self, model: ModelConfig, folder: Path, tmp_path: Path
    ) -> None:
        policy = load(replace(model, engine="auto"))
        add_adapter(policy, TrainConfig(lora_rank=4, train_vision=True))
        save(policy, tmp_path / "policy", {}, None)
        with pytest.raises(UsageError, match=r"leaves out what the adapter .* --vllm enable_tower_connector_lora=true"):
            self.opened(replace(model, policy=str(tmp_path / "policy")))


class TestServerInTrouble(TestServer):
    """The same, where every third request for completions goes wrong."""

    @pytest.fixture(autouse=True)
    def at(self, servers: Callable[..., Server], model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr("sparkcli.engines.openai.servers.BACKOFF_SECONDS", 0.02)
        monkeypatch.setattr("sparkcli.engines.openai.servers.RECALL_SECONDS", 0.05)
        proxy = Proxy(servers(model_folder).base_url)
        fewer = faulty.changed(lambda reply: reply["choices"].pop() and None)
        proxy.always = faulty.every(3, faulty.status(500), faulty.truncated, faulty.status(429, retry_after=0.05),
                                    faulty.closed, faulty.says(b"{"), fewer)
        with serving(proxy), contextlib.ExitStack() as self.engines:
            self.url = proxy.url
            yield
