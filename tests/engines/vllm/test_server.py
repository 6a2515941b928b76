"""What vLLM's server is told. That vLLM understands it is tested where vLLM is: tests/vllm/test_serve.py."""

import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.models.tiny import load_tiny, write_model
from tests.models.vision import write_vision_model

from sparkcli.config import ModelConfig, ServeConfig, TrainConfig
from sparkcli.engines.vllm import server
from sparkcli.engines.vllm.settings import image_arguments
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


@pytest.fixture(scope="module")
def sees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vision_model(tmp_path_factory.mktemp("sees") / "model")


def test_images_are_made_room_for_and_read_as_transformers_does(sees: Path, folder: Path) -> None:
    found = settled(sees)
    assert (found["limit_mm_per_prompt"], found["mm_device_do_normalize"]) == ({"video": 0, "audio": 0}, False)
    assert found["mm_processor_kwargs"] == {"size": {"shortest_edge": 32 * 32, "longest_edge": 128 * 128}}
    assert not {name for name in settled(folder) if name.startswith(("mm_", "limit_mm"))}


@pytest.mark.parametrize(("stored", "most", "size"), [
    ({"size": {"shortest_edge": 100, "longest_edge": 900}}, 1 << 20, {"shortest_edge": 100, "longest_edge": 900}),
    ({"size": {"shortest_edge": 100, "longest_edge": 900}}, 400, {"shortest_edge": 100, "longest_edge": 400}),
    ({"size": {"shortest_edge": 100, "longest_edge": 900}}, 50, {"shortest_edge": 50, "longest_edge": 50}),
    ({"min_pixels": 100, "max_pixels": 900}, 400, {"shortest_edge": 100, "longest_edge": 400}),
    ({"size": {"height": 336, "width": 336}}, 400, None),
    ({"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 336}}, 400, None),
    ({}, 400, None),
])
def test_pixels_are_limited_where_the_processor_counts_them(
    stored: dict[str, Any], most: int, size: dict[str, int] | None, tmp_path: Path
) -> None:
    """The newer file holds the settings under a name of their own."""
    (tmp_path / "config.json").write_text('{"vision_config": {}}')
    settings = {"image_processor_type": "Qwen2VLImageProcessorFast", **stored}
    for name, value in (("preprocessor_config.json", settings),
                        ("processor_config.json", {"image_processor": settings})):
        (tmp_path / name).write_text(json.dumps(value))
        found = image_arguments(tmp_path, most).get("mm_processor_kwargs")
        assert found == (None if size is None else {"size": size})
        (tmp_path / name).unlink()


@pytest.mark.parametrize("train_vision", [False, True])
def test_an_adapter_of_what_reads_images_is_wholly_loaded(sees: Path, tmp_path: Path, train_vision: bool) -> None:
    policy = load_tiny(sees)
    add_adapter(policy, TrainConfig(lora_rank=4, train_vision=train_vision))
    save(policy, tmp_path / "policy", {}, None)
    assert settled(sees, tmp_path / "policy").get("enable_tower_connector_lora", False) == train_vision


def test_without_torchvision_it_is_asked_for(sees: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_module", lambda: "the.server")
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(UsageError, match="pip install torchvision"):
        server.command(settled(sees))
    assert server.command(settled(folder))


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
