"""LoRA adapters in PEFT's own layout: attach, detach, swap, write.

The only module that imports peft, because that import costs seconds which sampling a bare model need not pay.
"""

import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from sparkcli.config import TrainConfig
from sparkcli.errors import UsageError, nearest
from sparkcli.models.folders import write_json
from sparkcli.models.tower import language_modules

NOT_COMPARED = ("base_model_name_or_path", "inference_mode", "peft_version", "revision")
ALL_LINEAR = "all-linear"
"""PEFT's word for every linear layer but the head."""


def attach_new(model: PreTrainedModel, config: TrainConfig) -> PeftModel:
    """A LoRA adapter as `config.lora_*` say, on what reads images only with `config.train_vision`.

    A is drawn from `config.seed` alone (Kaiming, as PEFT does), B is 0; float32, whatever the model's weights are.

    Raises:
        UsageError: `lora_targets` names what is no layer of the model, or none that can have an adapter.
    """
    adapted = _attach(model, LoraConfig(
        r=config.lora_rank, lora_alpha=config.lora_alpha, lora_dropout=config.lora_dropout,
        use_rslora=config.lora_rslora, task_type="CAUSAL_LM", target_modules=_target_modules(model, config)))
    generator = torch.Generator().manual_seed(config.seed)
    with torch.no_grad():
        for name, parameter in sorted(adapted.named_parameters()):
            if ".lora_A." in name:
                drawn = torch.empty(parameter.shape)
                torch.nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
                parameter.copy_(drawn)
    return adapted


def check_asked(model: PeftModel, config: TrainConfig, place: str) -> None:
    """Returns where `config` asks for the adapter that is there; a setting at its default asks for nothing.

    Raises:
        UsageError: it asks for another shape, which only a new adapter can have.
    """
    saved: Any = model.peft_config["default"]
    has = {"lora_rank": saved.r, "lora_alpha": saved.lora_alpha, "lora_dropout": saved.lora_dropout,
           "lora_rslora": saved.use_rslora}
    for name, value in has.items():
        asked = getattr(config, name)
        if asked not in (value, getattr(TrainConfig, name)):
            raise UsageError(f"{place}: has an adapter with {name} {value}, and {asked} is asked for; leave the "
                             "setting out, or train a new adapter on the model, or on what export makes of this one")
    targets = _targets(config)
    network = cast(PreTrainedModel, model.get_base_model())
    has_on = {name for name, module in network.named_modules() if isinstance(module, LoraLayer)}
    language = language_modules(network)
    if not config.train_vision and any(network.get_submodule(name) not in language for name in has_on):
        raise UsageError(f"{place}: has an adapter on layers that read images, which stay frozen; give --train-vision, "
                         "or train a new adapter")
    is_asked = targets != [ALL_LINEAR] or config.train_vision
    if is_asked and _allowed(network, _chosen(network, targets), config) != has_on:
        setting = f"lora_targets {','.join(targets)}{' with train_vision' * config.train_vision}"
        raise UsageError(f"{place}: has an adapter on other layers than {setting}; leave the setting out, or train a "
                         "new adapter")


def _targets(config: TrainConfig) -> list[str]:
    """`lora_targets` one by one, sorted; several may stand in one string, between commas."""
    return sorted({target.strip() for targets in config.lora_targets for target in targets.split(",")})


def _target_modules(model: PreTrainedModel, config: TrainConfig) -> str | list[str]:
    """The layers of a new adapter, as PEFT takes them: by full name where those that read images stay out, since their
    names end alike."""
    targets = _targets(config)
    chosen = _chosen(model, targets)
    allowed = _allowed(model, chosen, config)
    if allowed != chosen:
        return sorted(allowed)
    return ALL_LINEAR if targets == [ALL_LINEAR] else targets


def _allowed(model: PreTrainedModel, chosen: set[str], config: TrainConfig) -> set[str]:
    """The chosen layers without those that read images, unless `train_vision`."""
    language = language_modules(model)
    allowed = {name for name in chosen if config.train_vision or model.get_submodule(name) in language}
    if not allowed:
        raise UsageError(f"train: lora_targets: {min(chosen)!r} reads images, which stays frozen; name layers of the "
                         "language model, or give --train-vision")
    return allowed


def _chosen(model: PreTrainedModel, targets: list[str]) -> set[str]:
    """Names of the layers that get an adapter: all linear ones but the head, or those whose names end in a target."""
    linear, head = _linear_layers(model), cast(Any, model.get_output_embeddings())
    is_tied = head is not None and head.weight is cast(Any, model.get_input_embeddings()).weight
    if targets == [ALL_LINEAR]:
        return {name for name, module in linear.items() if module is not head}
    chosen: set[str] = set()
    for target in targets:
        fitting = {name for name, _ in model.named_modules() if name == target or name.endswith(f".{target}")}
        if not fitting:
            known = {name.rsplit(".", 1)[-1] for name in linear}
            raise UsageError(f"train: lora_targets: no layer is named {target!r}{nearest(target, known)}")
        if other := sorted(fitting - linear.keys()):
            raise UsageError(f"train: lora_targets: {target!r} fits {other[0]!r}, which is no linear layer; name "
                             "linear layers, e.g. q_proj,v_proj")
        if is_tied and any(linear[name] is head for name in fitting):
            raise UsageError(f"train: lora_targets: {target!r} is the head, which shares its weights with the "
                             "embeddings in this model; leave it out")
        chosen |= fitting
    return chosen


def _linear_layers(model: PreTrainedModel) -> dict[str, Any]:
    """The model's own linear layers by name, whether an adapter lies on them or not."""
    adapted = tuple(f"{name}." for name, module in model.named_modules() if isinstance(module, LoraLayer))
    return {name: module for name, module in model.named_modules()
            if isinstance(module, (torch.nn.Linear, Conv1D, LoraLayer)) and not name.startswith(adapted)}


def attach_saved(model: PreTrainedModel, directory: Path) -> PeftModel:
    """The adapter of a policy directory on top of `model`.

    Raises:
        UsageError: the adapter does not fit the model.
    """
    try:
        config = PeftConfig.from_pretrained(str(directory))
        config.inference_mode = False
        config.base_model_name_or_path = None  # the fingerprint says whose it is; names differ, and PEFT would warn
        adapted = _attach(model, config)
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{directory / 'adapter_config.json'}: does not fit this model: {_one_line(error)}") from None
    swap(adapted, directory)
    return adapted


def _attach(model: PreTrainedModel, config: PeftConfig) -> PeftModel:
    # PEFT draws from the global generator, which nothing of ours may move; and it asks transformers by an old name.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        adapted = cast(PeftModel, get_peft_model(model, config))
    return adapted.eval()


def swap(model: PeftModel, directory: Path) -> None:
    """Overwrites the adapter's tensors in place with those in `directory`, whose configuration must fit.

    Raises:
        UsageError: other tensors than the model's adapter has.
    """
    tensors = load_file(directory / "adapter_model.safetensors")
    expected = get_peft_model_state_dict(model, save_embedding_layers=False)
    path = directory / "adapter_model.safetensors"
    for name in sorted(expected.keys() ^ tensors.keys()):
        raise UsageError(f"{path}: {name}: {'missing' if name in expected else 'not in this model'}; "
                         "is it the adapter of another model?")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise UsageError(f"{path}: {name}: expected shape {tuple(expected[name].shape)}, "
                             f"found {tuple(tensor.shape)}; is it the adapter of another model?")
    set_peft_model_state_dict(model, tensors)


def fits(model: PeftModel, directory: Path) -> bool:
    """Whether the adapter in `directory` has the configuration of the one in place, so that tensors can be swapped."""
    saved = json.loads((directory / "adapter_config.json").read_bytes())
    return _comparable(saved) == _comparable(_configuration(model))


def detach(model: PeftModel) -> PreTrainedModel:
    """The model without its adapter; its weights are untouched."""
    base = cast(Any, model).unload()
    vars(base).pop("peft_config", None)
    return cast(PreTrainedModel, base)


def write(model: PeftModel, directory: Path, base_name: str, weights: Mapping[str, Tensor] | None = None) -> None:
    """`adapter_config.json` and `adapter_model.safetensors`, byte for byte the same for the same adapter.

    Args:
        weights: the adapter's tensors by their names in `named_parameters`, where the model holds pieces of them.
    """
    write_json(directory / "adapter_config.json",
               {**_configuration(model), "base_model_name_or_path": base_name, "inference_mode": True})
    tensors = get_peft_model_state_dict(model, state_dict=dict(weights) if weights is not None else None,
                                        save_embedding_layers=False)
    save_file({name: t.detach().to("cpu").contiguous() for name, t in tensors.items()},
              directory / "adapter_model.safetensors", metadata={"format": "pt"})


def merged(model: PeftModel) -> PreTrainedModel:
    """The model with the adapter added into its weights."""
    base = cast(Any, model).merge_and_unload()
    vars(base).pop("peft_config", None)
    return cast(PreTrainedModel, base)


def _configuration(model: PeftModel) -> dict[str, Any]:
    config = model.peft_config["default"].to_dict()
    return {name: sorted(value) if isinstance(value, set) else value for name, value in config.items()}


def _comparable(config: dict[str, Any]) -> dict[str, Any]:
    plain = json.loads(json.dumps({k: v for k, v in config.items() if k not in NOT_COMPARED}))
    return {k: sorted(v) if isinstance(v, list) and all(isinstance(i, str) for i in v) else v for k, v in plain.items()}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
