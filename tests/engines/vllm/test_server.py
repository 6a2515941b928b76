"""What vLLM's server is told. That vLLM understands it is tested where vLLM is: tests/vllm/test_serve.py."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.models.tiny import load_tiny, write_model

from sparkcli.config import ModelConfig, ServeConfig, TrainConfig
from sparkcli.engines.vllm import server
from sparkcli.errors import UsageError
from sparkcli.models.policy import add_adapter, save


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def policies(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    parent = tmp_path_factory.mktemp("policies")
    for name in ("lora", "full"):
        policy = load_tiny(folder)
        if name == "lora":
            add_adapter(policy, TrainConfig(lora_rank=100))
        save(policy, parent / name, {}, None)
    return parent


def settled(folder: Path, policy: Path | None = None, *, on_cpu: bool = False, dtype: Any = "auto",
            **settings: Any) -> dict[str, Any]:
    model = ModelConfig(name=str(folder), policy=str(policy) if policy else None, dtype=dtype)
    config = ServeConfig(**{"port": 0, **settings})
    return server.arguments(folder, model, config, server.served(model, config), on_cpu=on_cpu)


def test_logprobs_are_the_sampling_distributions_and_requests_are_neutral(folder: Path) -> None:
    found = settled(folder)
    assert (found["logprobs_mode"], found["generation_config"]) == ("processed_logprobs", "vllm")
    assert (found["model"], found["served_model_name"]) == (str(folder), str(folder))


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (16, 16), (17, 32), (64, 64), (400, 512)])
def test_ranks_are_those_that_vllm_takes(asked: int, given: int, folder: Path) -> None:
    found = settled(folder, max_lora_rank=asked)
    assert (found["enable_lora"], found["max_lora_rank"]) == (True, given)


def test_rank_0_is_no_adapters_at_all(folder: Path) -> None:
    assert not {"enable_lora", "max_lora_rank"} & settled(folder, max_lora_rank=0).keys()
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in server.environment(ServeConfig(max_lora_rank=0), {}, on_cpu=False)


def test_an_adapter_is_there_from_the_beginning_whatever_its_rank(folder: Path, policies: Path) -> None:
    found = settled(folder, policies / "lora", max_lora_rank=8)
    assert found["max_lora_rank"] == 128
    [module] = found["lora_modules"]
    assert (module["path"], module["base_model_name"]) == (str(policies / "lora"), str(folder))


def test_full_weights_take_the_place_of_the_model_under_its_name(folder: Path, policies: Path) -> None:
    found = settled(folder, policies / "full")
    assert (found["model"], found["served_model_name"]) == (str(policies / "full"), str(folder))


def test_a_policy_of_another_model_is_refused(policies: Path, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other", seed=1)
    with pytest.raises(UsageError, match="was trained on model"):
        settled(other, policies / "lora")


def test_an_adapter_where_none_is_wanted_is_refused(folder: Path, policies: Path) -> None:
    with pytest.raises(UsageError, match="--max-lora-rank 0 loads none"):
        settled(folder, policies / "lora", max_lora_rank=0)


@pytest.mark.parametrize(("stored", "on_cpu", "asked", "given"), [
    ({"dtype": "float32"}, False, "auto", "float32"),  # vLLM's own choice would be float16
    ({"torch_dtype": "bfloat16"}, False, "auto", "bfloat16"),
    ({"text_config": {"dtype": "bfloat16"}}, False, "auto", "bfloat16"),
    ({}, False, "auto", "auto"),
    ({"dtype": "bfloat16"}, True, "auto", "float32"),
    ({"dtype": "bfloat16"}, True, "bfloat16", "bfloat16"),
    ({"dtype": "float32"}, False, "float16", "float16"),
])
def test_weights_keep_the_precision_of_the_checkpoint(stored: dict[str, Any], on_cpu: bool, asked: str, given: str,
                                                      tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(stored))
    assert settled(tmp_path, on_cpu=on_cpu, dtype=asked)["dtype"] == given


def test_without_a_gpu_prompts_are_read_whole_and_memory_is_left(folder: Path) -> None:
    assert settled(folder, on_cpu=True)["enable_chunked_prefill"] is False
    assert "enable_chunked_prefill" not in settled(folder)
    assert server.environment(ServeConfig(), {}, on_cpu=True)["VLLM_CPU_KVCACHE_SPACE"] == "4"


def test_variables_of_the_user_stay(folder: Path) -> None:
    mine = {"VLLM_NO_USAGE_STATS": "0", "DO_NOT_TRACK": "0", "VLLM_CPU_KVCACHE_SPACE": "40"}
    assert not mine.keys() & server.environment(ServeConfig(), mine, on_cpu=True).keys()


def test_what_is_passed_on_wins(folder: Path) -> None:
    found = settled(folder, vllm={"tensor-parallel-size": 8, "enable_lora": None, "logprobs_mode": "raw_logprobs"})
    assert (found["tensor_parallel_size"], found["enable_lora"], found["logprobs_mode"]) == (8, None, "raw_logprobs")


@pytest.mark.parametrize(("key", "flag"), server.OURS.items())
def test_what_this_command_must_know_is_not_passed_on(key: str, flag: str, folder: Path) -> None:
    with pytest.raises(UsageError, match=f"this command has {flag} for that"):
        settled(folder, vllm={key: "x"})


def test_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_module", lambda: "the.server")
    words = server.command({"tensor_parallel_size": 8, "enable_lora": True, "enable_chunked_prefill": False,
                             "max_model_len": None, "hf_overrides": {"a": 1}, "cudagraph_capture_sizes": [1, 2]})
    assert words[1:] == ["-P", "-m", "the.server", "--tensor-parallel-size", "8", "--enable-lora",
                         "--no-enable-chunked-prefill", "--hf-overrides", '{"a": 1}', "--cudagraph-capture-sizes", "1",
                         "2"]


@pytest.mark.parametrize(("host", "url"), [("127.0.0.1", "http://127.0.0.1:5/v1"), ("0.0.0.0", "http://127.0.0.1:5/v1"),
                                           ("::1", "http://[::1]:5/v1"), ("::", "http://[::1]:5/v1")])
def test_where_clients_find_it(host: str, url: str) -> None:
    assert server.Served(host, 5, "m").base_url == url


def test_a_port_that_is_taken_is_refused_at_once(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UsageError, match=r"cannot listen there .*; try --port 0"):
            settled(folder, port=taken.getsockname()[1])


def test_nobody_there_is_not_healthy(folder: Path) -> None:
    config = ServeConfig(port=0)
    assert not server.served(ModelConfig(name=str(folder)), config).is_healthy()


def test_the_line_can_be_given_to_a_shell() -> None:
    line = server.shell_line(["python", "-m", "x", '{"a": 1}'], {"A": "1", "B": "a b"})
    assert line == """A=1 B='a b' python -m x '{"a": 1}'"""
