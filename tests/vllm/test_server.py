"""What the openai engine does at a vLLM server beyond the contract: faults, policies at run time, servers that lack
something."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.engines.contract import CONFIG, PROMPTS, assert_same_but_for_rounding, emitted
from tests.engines.openai import faulty
from tests.engines.openai.faulty import Proxy, serving
from tests.vllm.server import QUIET, Server, until

from sparkcli.config import ModelConfig, ServerConfig
from sparkcli.engines.openai.engine import OpenAIEngine
from sparkcli.errors import UsageError
from sparkcli.models.fingerprint import policy_fingerprint
from sparkcli.records import Prompt, Rollout

Opened = Callable[..., OpenAIEngine]


@pytest.fixture
def url(servers: Callable[..., Server], model_folder: Path) -> str:
    """A server, without adapters of earlier tests."""
    url = servers(model_folder).base_url
    for name in names(url) - {str(model_folder)}:
        post(url, "/v1/unload_lora_adapter", {"lora_name": name})
    return url


@pytest.fixture
def proxy(url: str) -> Iterator[Proxy]:
    with serving(proxy := Proxy(url)):
        yield proxy


@pytest.fixture
def opened(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    monkeypatch.setattr("sparkcli.engines.openai.servers.BACKOFF_SECONDS", 0.02)
    with contextlib.ExitStack() as engines:

        def open_at(url: str, *, policy: Path | None = None, model: str = str(model_folder),
                    **settings: Any) -> OpenAIEngine:
            config = ModelConfig(name=model, engine="openai", policy=str(policy) if policy else None)
            return engines.enter_context(contextlib.closing(
                OpenAIEngine(config, ServerConfig(base_url=(url,), **settings))))

        yield open_at


def sampled(engine: OpenAIEngine, **changes: Any) -> list[list[Rollout]]:
    return list(engine.sample(PROMPTS, replace(CONFIG, **changes)))


def post(url: str, path: str, body: dict[str, Any]) -> None:
    """Something that happens to a server behind the engine's back."""
    request = urllib.request.Request(url.removesuffix("/v1") + path, json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=60).close()


def get(url: str, path: str) -> str:
    with urllib.request.urlopen(url.removesuffix("/v1") + path, timeout=60) as reply:
        return str(reply.read().decode())


def names(url: str) -> set[str]:
    return {card["id"] for card in json.loads(get(url, "/v1/models"))["data"]}


def first(reply: dict[str, Any]) -> Any:
    return reply["choices"][0]


FAULTS = {
    "truncated": faulty.truncated,
    "one log-prob less": faulty.changed(lambda reply: first(reply)["logprobs"]["token_logprobs"].pop() and None),
    "a log-prob of null": faulty.changed(lambda reply: first(reply)["logprobs"].update(
        token_logprobs=[None] * len(first(reply)["token_ids"]))),
    "probabilities": faulty.changed(lambda reply: first(reply)["logprobs"].update(
        token_logprobs=[0.5] * len(first(reply)["token_ids"]))),
    "no log-probs": faulty.changed(lambda reply: first(reply).update(logprobs=None)),
    "no ids": faulty.changed(lambda reply: first(reply).update(token_ids=None)),
    "ids beyond the vocabulary": faulty.changed(lambda reply: first(reply)["token_ids"].__setitem__(0, 10**6)),
    "negative ids": faulty.changed(lambda reply: first(reply)["token_ids"].__setitem__(0, -1)),
    "another prompt": faulty.changed(lambda reply: first(reply)["prompt_token_ids"].reverse()),
    "too many tokens": faulty.changed(lambda reply: first(reply)["token_ids"].extend([1] * 100)),
    "aborted": faulty.changed(lambda reply: first(reply).update(finish_reason="abort")),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_reply_that_is_not_as_asked_costs_another_try(proxy: Proxy, opened: Opened, fault: faulty.Fault) -> None:
    engine = opened(proxy.url)
    whole = sampled(engine)
    proxy.asked.clear()
    proxy.faults = [fault, fault]
    assert_same_but_for_rounding(sampled(engine), whole)
    asked = [request for request in proxy.asked if "stop_token_ids" in request]  # the others ask whether it is well
    assert len(asked) == len(PROMPTS) + 2


def test_log_probs_come_through_whole(url: str, opened: Opened) -> None:
    """As JSON writes them: every one is a float32."""
    import numpy as np

    for group in sampled(opened(url)):
        for rollout in group:
            assert rollout.logprobs == tuple(map(float, np.float32(rollout.logprobs)))


def test_dropped_requests_end_at_the_server(url: str, opened: Opened) -> None:
    def running() -> bool:
        return any(line.startswith("vllm:num_requests_running") and not line.endswith(" 0.0")
                   for line in get(url, "/metrics").splitlines())

    prompts = (Prompt(id=str(number), prompt=f"{number} + 1 = ?") for number in range(200))
    stream = opened(url, concurrency=4).sample(prompts, replace(CONFIG, max_tokens=400))
    next(stream)
    assert running()
    stream.close()
    assert until(lambda: not running(), 3.0)


def test_an_adapter_that_is_sampled_no_more_is_unloaded(url: str, opened: Opened, policies: dict[str, Path]) -> None:
    engine = opened(url, sync_adapters=True)
    lora, lora2 = (policy_fingerprint(policies[name]) for name in ("lora", "lora2"))
    engine.load_policy(policies["lora"])
    assert lora in names(url)
    engine.load_policy(policies["lora2"])
    assert lora2 in names(url) and lora not in names(url)
    engine.load_policy(None)
    assert lora2 not in names(url)


def test_an_adapter_that_somebody_else_has_loaded_stays(url: str, opened: Opened, policies: dict[str, Path]) -> None:
    lora = policy_fingerprint(policies["lora"])
    post(url, "/v1/load_lora_adapter", {"lora_name": lora, "lora_path": str(policies["lora"])})
    engine = opened(url, sync_adapters=True, policy=policies["lora"])
    assert engine.policy == sampled(engine)[0][0].policy == lora
    engine.load_policy(None)
    assert lora in names(url)


def test_a_server_that_lost_the_adapter_gets_it_again(url: str, opened: Opened, policies: dict[str, Path]) -> None:
    engine = opened(url, sync_adapters=True, policy=policies["lora"])
    whole = sampled(engine)
    post(url, "/v1/unload_lora_adapter", {"lora_name": policy_fingerprint(policies["lora"])})
    assert_same_but_for_rounding(sampled(engine), whole)


def test_a_server_that_lost_full_weights_gets_them_again(
    proxy: Proxy, url: str, model_folder: Path, opened: Opened, policies: dict[str, Path]
) -> None:
    """As one that is started anew: its connections break, and it then has the weights of its model."""
    engine = opened(proxy.url, sync_adapters=True, policy=policies["full"])
    whole = sampled(engine)
    post(url, "/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(model_folder)}})
    post(url, "/reset_prefix_cache", {})
    proxy.faults = [faulty.closed] * len(PROMPTS)
    assert_same_but_for_rounding(sampled(engine), whole)


def test_a_server_gets_its_own_weights_back(url: str, opened: Opened, policies: dict[str, Path]) -> None:
    bare = sampled(opened(url))
    engine = opened(url, sync_adapters=True, policy=policies["full"])
    assert emitted(sampled(engine)) != emitted(bare)
    engine.close()
    assert_same_but_for_rounding(sampled(opened(url)), bare)


def test_a_policy_that_the_server_has_already_is_found(url: str, opened: Opened, policies: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match=r"does not have the policy .* --sync-adapters loads it there"):
        opened(url, policy=policies["lora"])
    post(url, "/v1/load_lora_adapter", {"lora_name": "mine", "lora_path": str(policies["lora"])})
    found = [opened(url, policy=policies["lora"]), opened(url, served_name="mine")]
    assert {engine.policy for engine in found} == {policy_fingerprint(policies["lora"])}


def test_another_model_than_the_servers(url: str, opened: Opened, tmp_path: Path) -> None:
    from tests.models.tiny import write_model

    with pytest.raises(UsageError, match="is not the model 'builtin:tiny-math'; give that with -m"):
        opened(url, model="builtin:tiny-math")
    stranger = write_model(tmp_path / "stranger", seed=7, head_dim=32)
    with pytest.raises(UsageError, match=r"is not the model .*stranger"):
        opened(url, model=str(stranger))


class TestPlainServer:
    """One that was started by hand, with nothing that training needs."""

    @pytest.fixture(scope="class")
    @classmethod
    def plain(cls, model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        arguments = ["--model", model_folder, "--served-model-name", "plain", "--port", port, "--host", "127.0.0.1",
                     "--dtype", "float32", "--enforce-eager", "--no-enable-chunked-prefill",
                     "--max-num-batched-tokens", 16384]
        log = tmp_path_factory.mktemp("plain") / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *map(str, arguments)],
                env={**os.environ, **QUIET}, stdout=output, stderr=output)
        try:
            url = f"http://127.0.0.1:{port}/v1"
            assert until(lambda: answers(url) or process.poll() is not None, 300), log.read_text()[-4000:]
            yield url
        finally:
            process.terminate()
            process.wait(60)

    @pytest.mark.parametrize(("changes", "known"), [
        ({}, True), ({"temperature": 0.0}, True), ({"temperature": 0.7}, False), ({"top_p": 0.9}, False),
        ({"top_k": 5}, False)])
    def test_log_probs_are_left_out_where_they_are_not_those_of_the_sampling_distribution(
        self, plain: str, opened: Opened, changes: dict[str, Any], known: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        engine = opened(plain)
        groups = sampled(engine, **changes) + sampled(engine, **changes)
        assert {rollout.logprobs is not None for group in groups for rollout in group} == {known}
        assert all(rollout.token_ids for group in groups for rollout in group)
        assert [("processed_logprobs" in record.getMessage()) for record in caplog.records] == [True] * (not known)

    def test_what_it_lacks_is_named(self, plain: str, opened: Opened, policies: dict[str, Path]) -> None:
        with pytest.raises(UsageError, match=r"takes no adapters at run time; start the server with `sparkcli serve`"):
            opened(plain, policy=policies["lora"], sync_adapters=True)
        with pytest.raises(UsageError, match=r"cannot load full weights .*sparkcli serve.*VLLM_SERVER_DEV_MODE=1"):
            opened(plain, policy=policies["full"], sync_adapters=True)


def answers(url: str) -> bool:
    try:
        return bool(names(url))
    except OSError:
        return False
