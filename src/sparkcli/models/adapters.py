"""LoRA adapters in PEFT's own layout: attach, detach, swap, write.

The only module that imports peft, because that import costs seconds which sampling a bare model need not pay.
"""

import json
import math
import warnings
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from sparkcli.errors import UsageError
from sparkcli.models.folders import write_json

NOT_COMPARED = ("base_model_name_or_path", "inference_mode", "peft_version", "revision")


def attach_new(model: PreTrainedModel, rank: int, alpha: int, seed: int) -> PeftModel:
    """LoRA on every linear layer but the head. A is drawn from `seed` alone (Kaiming, as PEFT does), B is 0."""
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = _attach(model, config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(adapted.named_parameters()):
            if ".lora_A." in name:
                drawn = torch.empty(parameter.shape)
                torch.nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
                parameter.copy_(drawn)
    return adapted


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


def write(model: PeftModel, directory: Path, base_name: str) -> None:
    """`adapter_config.json` and `adapter_model.safetensors`, byte for byte the same for the same adapter."""
    write_json(directory / "adapter_config.json",
               {**_configuration(model), "base_model_name_or_path": base_name, "inference_mode": True})
    tensors = get_peft_model_state_dict(model, save_embedding_layers=False)
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
