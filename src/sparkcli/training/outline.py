"""A policy without its numbers: every shape and type of it, and nothing loaded.

What a dry run knows of a model: that it and the settings fit, what would be trained, how updates would run.
"""

import warnings
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.nn import Parameter
from transformers import PreTrainedConfig, PreTrainedModel

from sparkcli.config import ModelConfig
from sparkcli.errors import UsageError
from sparkcli.models.fingerprint import policy_fingerprint, weight_files
from sparkcli.models.network import load_architecture, sees
from sparkcli.models.policy import Policy, without_adapter


def outline(config: ModelConfig) -> Policy:
    """A policy as `models.policy.load` gives it, checked alike, with weights on the meta device.

    Raises:
        UsageError: unknown model, device or policy; a broken file; a policy of another model.
    """
    policy = without_adapter(config, empty_network)
    if config.policy and policy.directory is None:
        policy.directory = Path(config.policy)
        policy.fingerprint = policy_fingerprint(policy.directory, policy.base_fingerprint)
        policy.model = _adapted(policy.network, policy.directory)
    return policy


def empty_network(folder: Path, config: ModelConfig, device: torch.device) -> PreTrainedModel:
    """The network in a folder, in the type that it would have on `device`, on the meta device.

    Raises:
        UsageError: no safetensors weights, or an architecture that is not known.
    """
    weight_files(folder)
    architecture = load_architecture(folder, config)
    try:
        factory: Any = (transformers.AutoModelForImageTextToText if sees(architecture)
                        else transformers.AutoModelForCausalLM)
        with torch.device("meta"):
            network: PreTrainedModel = factory.from_config(
                architecture, dtype=_dtype(config, architecture, device), trust_remote_code=config.trust_remote_code)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise UsageError(f"{folder}: transformers cannot load it: {' '.join(str(error).split())[:300]}") from error
    vars(network)["is_quantized"] = config.load_in_4bit
    return network.eval()


def embody(model: torch.nn.Module, device: torch.device) -> None:
    """Puts fresh tensors in the place of all weights and buffers; inside FakeTensorMode, ones without numbers.

    Tied weights stay tied.
    """
    made: dict[int, Any] = {}
    kept = [*model.parameters(), *model.buffers()]  # while they live, an address is one tensor's alone
    for module in model.modules():
        for store in (module._parameters, module._buffers):
            for name, tensor in store.items():
                if tensor is not None and id(tensor) not in made:
                    fresh = torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
                    made[id(tensor)] = (Parameter(fresh, requires_grad=tensor.requires_grad)
                                        if isinstance(tensor, Parameter) else fresh)
                if tensor is not None:
                    store[name] = made[id(tensor)]
    del kept


def _adapted(network: PreTrainedModel, directory: Path) -> Any:
    from sparkcli.models.adapters import attach_saved

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*copying from a non-meta parameter", UserWarning)
        return attach_saved(network, directory)


def _dtype(config: ModelConfig, architecture: PreTrainedConfig, device: torch.device) -> torch.dtype:
    if config.dtype != "auto":
        return getattr(torch, config.dtype)
    stored = architecture.dtype
    return stored if device.type != "cpu" and isinstance(stored, torch.dtype) else torch.float32
