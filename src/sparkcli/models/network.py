"""Hugging Face networks and tokenizers from a folder, each failure an error of one line."""

import contextlib
import importlib.util
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from sparkcli.config import ModelConfig
from sparkcli.errors import UsageError
from sparkcli.models.fingerprint import weight_files

logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it misses an optional kernel on CPUs, at each import

PACKING = "support_avx512bf16_for_cpu"
"""By which bitsandbytes repacks a layer for sampling on some CPUs: rounded once more, and never to be trained again."""

NF4_BLOCK = 64


def load_network(folder: Path, config: ModelConfig, device: torch.device) -> PreTrainedModel:
    """The network in eval mode. Attention is transformers' own choice (sdpa, else eager): both are exact.

    With `config.load_in_4bit` all linear layers but the head are NF4 with double quantisation (QLoRA, arXiv
    2305.14314), computing in the dtype that the rest has.

    Raises:
        UsageError: no safetensors weights, an architecture that is not known, looks at images by cross-attention or
            encodes the prompt apart, weights missing; or no bitsandbytes.
    """
    weight_files(folder)
    architecture = load_architecture(folder, config)
    if getattr(architecture.get_text_config(), "cross_attention_layers", None):
        raise UsageError(f"{folder}: {architecture.model_type} looks at images by cross-attention, which is not "
                         "supported here; take a model whose images are tokens, as Qwen2.5-VL or Qwen3-VL")
    if architecture.is_encoder_decoder:
        raise UsageError(f"{folder}: {architecture.model_type} is an encoder with a decoder, which is not supported "
                         "here; take a model that continues its prompt, as Qwen or Llama")
    if architecture.model_type == "reformer":
        raise UsageError("reformer: attends within chunks and by hashes, so that what it says of a token depends on "
                         "the length of the sequence; take another model")
    try:
        options: dict[str, Any] = {"dtype": _dtype(config, architecture, device), "use_safetensors": True,
                                   "trust_remote_code": config.trust_remote_code}
        if config.load_in_4bit:
            options |= {"quantization_config": _four_bit(options["dtype"]), "device_map": {"": device}}
        factory = transformers.AutoModelForImageTextToText if sees(architecture) else transformers.AutoModelForCausalLM
        loaded: Any = factory.from_pretrained(folder, config=architecture, output_loading_info=True, **options)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise UsageError(f"{folder}: transformers cannot load it: {' '.join(str(error).split())[:300]}") from error
    model, info = loaded
    if info["missing_keys"]:
        raise UsageError(f"{folder}: weights are missing, first {min(info['missing_keys'])!r}; get the files again")
    network: PreTrainedModel = (model if is_quantised(model) else model.to(device)).eval()
    if config.load_in_4bit and device.type == "cpu":
        _settle_on_cpu(network)
    return network


def load_architecture(folder: Path, config: ModelConfig) -> PreTrainedConfig:
    """The configuration in the folder of a model.

    Raises:
        UsageError: there is none, or none that transformers knows.
    """
    try:
        return transformers.AutoConfig.from_pretrained(folder, trust_remote_code=config.trust_remote_code)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise UsageError(f"{folder}: transformers cannot load it: {' '.join(str(error).split())[:300]}") from error


def sees(architecture: PreTrainedConfig) -> bool:
    """Whether a model of this configuration reads images."""
    return type(architecture) in transformers.AutoModelForImageTextToText._model_mapping


@contextlib.contextmanager
def attending(network: PreTrainedModel, name: str) -> Iterator[None]:
    """Within it the network attends by the function that is registered with transformers under `name`."""
    config = network.config.get_text_config()
    before = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = before


def body_of(network: PreTrainedModel) -> Any:
    """All of the network under its head: what puts out hidden states."""
    if network.base_model is not network:
        return network.base_model
    return next((child for child in network.children() if isinstance(child, PreTrainedModel)), network)


def is_quantised(network: PreTrainedModel) -> bool:
    """Whether its weights are quantised, so that they can only be sampled from, or trained with an adapter."""
    return bool(getattr(network, "is_quantized", False))


def load_tokenizer(folder: Path, config: ModelConfig) -> PreTrainedTokenizerBase:
    """The tokenizer in the folder of a model.

    Raises:
        UsageError: there is none that transformers can load.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = transformers.AutoTokenizer.from_pretrained(
            folder, trust_remote_code=config.trust_remote_code)
        return tokenizer
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{folder}: no tokenizer that transformers can load: {reason}") from error


def find_device(name: str) -> torch.device:
    """The device of this name; `auto`: an accelerator where there is one.

    Raises:
        UsageError: there is no such device here.
    """
    try:
        if name == "auto":
            return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {name!r}: {str(error).splitlines()[0][:120]}; try cpu or auto") from None
    return device


def _dtype(config: ModelConfig, architecture: PreTrainedConfig, device: torch.device) -> str | torch.dtype:
    if config.dtype != "auto":
        return config.dtype
    if device.type == "cpu":
        return "float32"
    return (architecture.dtype or torch.float32) if config.load_in_4bit else "auto"


def _settle_on_cpu(network: PreTrainedModel) -> None:
    """Keeps bitsandbytes from repacking, and from layers that it gets wrong: its CPU kernel of 0.50 reads the blocks of
    64 weights as if each row began one."""
    for name, module in network.named_modules():
        if hasattr(module, PACKING):
            setattr(module, PACKING, False)
            if module.in_features % NF4_BLOCK:
                raise UsageError(f"{name}: {module.in_features} inputs, and bitsandbytes computes 4-bit layers on a "
                                 f"CPU only where they are a multiple of {NF4_BLOCK}; leave out load_in_4bit")


def _four_bit(dtype: str | torch.dtype) -> transformers.BitsAndBytesConfig:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UsageError("load_in_4bit needs bitsandbytes, which is not installed; try: pip install 'sparkcli[qlora]'")
    return transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
                                           bnb_4bit_compute_dtype=dtype)
