"""How vLLM's OpenAI-compatible server is started so that it serves training: flags and environment. Torch-free.

Log-probs are those of the sampling distribution, adapters and weights can be exchanged at run time, and what a request
does not say is neutral, not what the checkpoint's authors recommend for chats.
"""

import http.client
import importlib.util
import json
import os
import shlex
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparkcli.config import ModelConfig, ServeConfig
from sparkcli.engines.vllm.settings import (
    CPU_CACHE_GIB,
    WORKER,
    image_arguments,
    lora_rank,
    reaches_images,
    weights_dtype,
)
from sparkcli.errors import UsageError
from sparkcli.models.fingerprint import check_policy, is_adapter, model_fingerprint, policy_fingerprint, read_json
from sparkcli.models.locate import model_folder

MODULES = ("entrypoints/launchers/api_server/entry.py", "entrypoints/openai/api_server.py")
"""Where the server's program is inside vLLM, newest first."""

OURS = {"model": "-m", "served_model_name": "--served-name", "host": "--host", "port": "--port",
        "lora_modules": "--policy"}
"""Arguments of vLLM's server that this program must know, and its own flags for them."""

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
"""Addresses to listen at that are none to connect to, and those of this machine."""

ANSWER_SECONDS = 2.0


@dataclass(frozen=True)
class Served:
    """What clients of the server say to reach it."""

    host: str
    port: int
    model: str
    policy: str | None = None
    """Name of the adapter that is there from the beginning."""

    @property
    def base_url(self) -> str:
        """Where its OpenAI-compatible interface is."""
        host = ANYWHERE.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/v1"

    def is_healthy(self) -> bool:
        """Whether the server answers, and can generate."""
        connection = http.client.HTTPConnection(ANYWHERE.get(self.host, self.host), self.port, timeout=ANSWER_SECONDS)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def served(model: ModelConfig, config: ServeConfig) -> Served:
    """What the server will be to its clients; a free port is chosen where none is asked for.

    Raises:
        UsageError: the address cannot be listened at.
    """
    adapter = Path(model.policy) if model.policy and is_adapter(Path(model.policy)) else None
    return Served(config.host, _port(config), config.served_name or model.name,
                  policy_fingerprint(adapter, model_fingerprint(model_folder(model.name))) if adapter else None)


def arguments(folder: Path, model: ModelConfig, config: ServeConfig, names: Served, *, on_cpu: bool) -> dict[str, Any]:
    """Arguments of the server, by the names that vLLM gives them; None leaves one out.

    Args:
        folder: where the base model is.
        model: which model and policy.
        config: how it is served; what it passes on wins.
        names: see `served`.
        on_cpu: whether vLLM will run without a GPU.

    Raises:
        UsageError: the policy is not one of this model, its rank is too large, or `--vllm` names what is not its own.
    """
    settled: dict[str, Any] = {
        "model": str(folder.resolve()), "served_model_name": names.model, "host": config.host, "port": names.port,
        "dtype": weights_dtype(folder, model, on_cpu=on_cpu), "max_model_len": config.max_model_len,
        "logprobs_mode": "processed_logprobs", "generation_config": "vllm", "worker_extension_cls": WORKER,
        "trust_remote_code": model.trust_remote_code or None}
    settled |= {name: value for name, value in image_arguments(folder, model.max_pixels).items() if _knows(name)}
    if on_cpu:  # per-request seeds fail there once a prompt is read in pieces; and compiling takes longer than it saves
        settled |= {"enable_chunked_prefill": False, "enforce_eager": True}
    return settled | _adapters(folder, model, config, names) | _given(config)


def command(arguments: Mapping[str, Any]) -> list[str]:
    """The command line of the server.

    Raises:
        UsageError: vLLM is not installed, or what it needs for images.
    """
    if "limit_mm_per_prompt" in arguments and importlib.util.find_spec("torchvision") is None:
        raise UsageError(f"model {arguments.get('served_model_name')}: reads images, for which vllm needs torchvision, "
                         "which is not installed; try: pip install torchvision")
    return [sys.executable, "-P", "-m", _module(), *(word for key, value in arguments.items()
                                                     for word in _words(key, value))]


def environment(config: ServeConfig, environ: Mapping[str, str], *, on_cpu: bool) -> dict[str, str]:
    """Variables that the server needs beside what the environment has; usage is reported to nobody unless asked for."""
    needed = {"VLLM_SERVER_DEV_MODE": "1"}  # lets weights be loaded at run time
    if config.max_lora_rank:
        needed["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
    usual = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if on_cpu:
        usual["VLLM_CPU_KVCACHE_SPACE"] = str(CPU_CACHE_GIB)
    return needed | {name: value for name, value in usual.items() if name not in environ}


def shell_line(words: list[str], variables: Mapping[str, str]) -> str:
    """A command and the variables it needs, as a shell reads them."""
    return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in variables.items()), shlex.join(words)])


def _module() -> str:
    """The server's program, found without importing vLLM."""
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        raise UsageError("vllm is not installed; try: pip install 'sparkcli[vllm]'")
    for path in MODULES:
        if Path(spec.origin).parent.joinpath(path).is_file():
            return f"vllm.{path.removesuffix('.py').replace('/', '.')}"
    raise UsageError(f"vllm in {Path(spec.origin).parent} has no OpenAI-compatible server that is known here; "
                     "try another version")


def _knows(name: str) -> bool:
    """Whether the vLLM that is installed has an argument that came late, found without importing it."""
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        return True
    return name in Path(spec.origin).parent.joinpath("engine", "arg_utils.py").read_text(encoding="utf-8")


def _adapters(folder: Path, model: ModelConfig, config: ServeConfig, names: Served) -> dict[str, Any]:
    """Arguments about adapters, and the policy."""
    found: dict[str, Any] = {}
    rank = config.max_lora_rank
    if model.policy:
        directory = Path(model.policy).resolve()
        check_policy(directory, model_fingerprint(folder))
        if names.policy is None:
            found["model"] = str(directory)
        else:
            rank = _rank_of(directory, rank)
            found["lora_modules"] = [{"name": names.policy, "path": str(directory), "base_model_name": names.model}]
    if rank:
        found |= {"enable_lora": True, "max_lora_rank": lora_rank(rank)}
    if names.policy and reaches_images(folder, Path(model.policy or "")):
        found["enable_tower_connector_lora"] = True
    return found


def _rank_of(directory: Path, most: int) -> int:
    """The larger of `most` and the rank of an adapter; raises UsageError where adapters are not wanted at all."""
    if most == 0:
        raise UsageError(f"policy {directory}: is an adapter, and --max-lora-rank 0 loads none; leave it out")
    return max(most, int(read_json(directory / "adapter_config.json").get("r", 0)))


def _given(config: ServeConfig) -> dict[str, Any]:
    """What `--vllm` says, under the names that vLLM gives its arguments."""
    given = {key.lstrip("-").replace("-", "_"): value for key, value in (config.vllm or {}).items()}
    for key in OURS.keys() & given:
        raise UsageError(f"--vllm {key}=…: this command has {OURS[key]} for that")
    return given


def _words(key: str, value: Any) -> list[str]:
    """An argument on the command line: a list as several values, a mapping as JSON; None leaves it out."""
    flag = f"--{key.replace('_', '-')}"
    if value is None:
        return []
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag[2:]}"]
    values = value if isinstance(value, list) else [value]
    return [flag, *(json.dumps(v) if isinstance(v, dict) else str(v) for v in values)]


def _port(config: ServeConfig) -> int:
    """The port to listen at, which nobody else listens at yet."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            config.host or None, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as free:
            if os.name == "posix":  # as the server: a port that was closed a moment ago is free
                free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(address)
            return int(free.getsockname()[1])
    except OSError as error:
        raise UsageError(f"{config.host}:{config.port}: cannot listen there ({error.strerror}); try --port 0 for a "
                         "free port") from None
