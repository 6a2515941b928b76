"""Engines sample completions. Each is imported only when it is opened."""

import importlib.util
from typing import TYPE_CHECKING

from sparkcli.config import ModelConfig, RolloutConfig, SamplingConfig, ServerConfig, TrainConfig
from sparkcli.engines.base import Engine
from sparkcli.errors import UsageError
from sparkcli.models.locate import check_named

if TYPE_CHECKING:
    from sparkcli.models.policy import Policy


def open_engine(model: ModelConfig, sampling: SamplingConfig | None = None, server: ServerConfig | None = None, *,
                policy: "Policy | None" = None, trained: TrainConfig | None = None) -> Engine:
    """The engine that `model.engine` names, holding the policy that `model.policy` names.

    Args:
        model: which model and engine.
        sampling: what it will be asked for at most; some engines make room for that.
        server: servers to sample at.
        policy: the policy that a trainer in this process holds. The transformers engine shares it; others keep weights
            of their own on the same device, and `load_policy` brings them up to date.
        trained: how that trainer trains it.

    Raises:
        UsageError: the model or policy cannot be loaded, or what the engine needs is missing.
    """
    sampling, server = sampling or RolloutConfig(), server or ServerConfig()
    check_model(model, server)
    name, _ = choose(model, server)
    if name == "scripted":
        from sparkcli.engines.scripted import ScriptedEngine

        return ScriptedEngine(model)
    if name == "openai":
        from sparkcli.engines.openai.engine import OpenAIEngine

        return OpenAIEngine(model, server)
    if name == "vllm":
        from sparkcli.engines.vllm.engine import VLLMEngine

        return VLLMEngine(model, sampling, beside_trainer=policy is not None, trained=trained)
    from sparkcli.engines.transformers.engine import TransformersEngine
    from sparkcli.models.policy import load

    return TransformersEngine(policy or load(model))


def check_model(model: ModelConfig, server: ServerConfig) -> None:
    """Raises UsageError where no model is named and the engine needs one. A server knows what it serves; whoever talks
    to it in token ids needs the model's files as well, and finds out then."""
    if model.engine != "scripted" and not server.base_url:
        check_named(model.name)


def choose(model: ModelConfig, server: ServerConfig) -> tuple[str, str]:
    """The engine that samples, and why in a few words.

    Raises:
        UsageError: a server is given for an engine that asks none, or none for the one that does.
    """
    if server.base_url and model.engine not in ("auto", "openai"):
        raise UsageError(f"--base-url names a server, and --engine {model.engine} asks none; leave one of them out")
    if model.engine == "openai" and not server.base_url:
        raise UsageError("--engine openai needs a server: --base-url http://127.0.0.1:8000/v1 (`sparkcli serve` starts "
                         "one)")
    if model.engine != "auto":
        return model.engine, "as asked"
    if server.base_url:
        return "openai", f"a server is given: {', '.join(server.base_url)}"
    return _local(model)


def _local(model: ModelConfig) -> tuple[str, str]:
    """What samples on this machine."""
    from sparkcli.models.network import find_device

    device = find_device(model.device)
    has_vllm = importlib.util.find_spec("vllm") is not None
    if device.type != "cuda":
        return "transformers", f"on {device.type}" + ("; vllm is installed, and meant for GPUs" if has_vllm else "")
    if not has_vllm:
        return "transformers", "vllm is not installed: pip install 'sparkcli[vllm]'"
    if model.load_in_4bit:
        return "transformers", "4-bit weights are its own"
    return "vllm", f"installed, and there is a GPU ({device})"
