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

from sparkcli.config import TrainConfig
from sparkcli.errors import UsageError
from sparkcli.models.folders import write_json
from sparkcli.models.lora_targets import ALL_LINEAR, adapted_layers, check_attached, target_modules, target_names
from sparkcli.models.tower import language_modules

NOT_COMPARED = ("base_model_name_or_path", "inference_mode", "peft_version", "revision")


def attach_new(model: PreTrainedModel, config: TrainConfig) -> PeftModel:
    """A LoRA adapter as `config.lora_*` say, on what reads images only with `config.train_vision`.

    A is drawn from `config.seed` alone (Kaiming, as PEFT does), B is 0; float32, whatever the model's weights are.

    Raises:
        UsageError: `lora_targets` names what is no layer of the model, or none that can have an adapter that PEFT reads
            back.
    """
    adapted = _attach(model, LoraConfig(
        r=config.lora_rank, lora_alpha=config.lora_alpha, lora_dropout=config.lora_dropout,
        use_rslora=config.lora_rslora, task_type="CAUSAL_LM", target_modules=target_modules(model, config)))
    check_attached(model, config)
    if lost := _read_back(adapted, get_peft_model_state_dict(adapted, save_embedding_layers=False)):
        raise UsageError(f"train: lora_targets: {model.config.model_type}: PEFT does not read back an adapter on "
                         f"{lost[0]!r} ({len(lost)} such layers); name other layers, e.g. q_proj,v_proj, or try "
                         "--method full")
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
    targets = target_names(config)
    network = cast(PreTrainedModel, model.get_base_model())
    has_on = {name for name, module in network.named_modules() if isinstance(module, LoraLayer)}
    language = language_modules(network)
    if not config.train_vision and any(network.get_submodule(name) not in language for name in has_on):
        raise UsageError(f"{place}: has an adapter on layers that read images, which stay frozen; give --train-vision, "
                         "or train a new adapter")
    is_asked = targets != [ALL_LINEAR] or config.train_vision
    if is_asked and adapted_layers(network, config) != has_on:
        setting = f"lora_targets {','.join(targets)}{' with train_vision' * config.train_vision}"
        raise UsageError(f"{place}: has an adapter on other layers than {setting}; leave the setting out, or train a "
                         "new adapter")


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
    if lost := _read_back(model, tensors):
        raise UsageError(f"{path}: this version of PEFT does not read an adapter on {lost[0]!r} of this model; train a "
                         "new one on other layers")


def _read_back(model: PeftModel, tensors: Mapping[str, Tensor]) -> list[str]:
    """Puts an adapter's tensors in place; names the layers whose tensors PEFT has dropped on the way, as it does where
    transformers has another name for them in checkpoints."""
    missing = cast(Any, set_peft_model_state_dict(model, dict(tensors))).missing_keys
    return sorted({name.partition(".lora_")[0].removeprefix("base_model.model.")
                   for name in missing if ".lora_" in name})


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
