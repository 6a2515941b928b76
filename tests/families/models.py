"""A random model of any causal family in a Hugging Face folder."""

from pathlib import Path

import torch
from tests.families.configurations import small_configuration
from tests.models.tiny import byte_tokenizer
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedConfig, PreTrainedModel

from sparkcli.models.network import sees

MOST_PARAMETERS = 1_000_000
"""Of a model here: a size that a configuration forgot shows before it takes memory."""


def write_family(folder: Path, family: str) -> Path:
    """A random model with a tokenizer of bytes."""
    tokenizer = byte_tokenizer(chat=False)
    configuration = small_configuration(family, eos_token_id=tokenizer.eos_token_id,
                                        pad_token_id=tokenizer.pad_token_id)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build(configuration)
        enlarge(model)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def build(configuration: PreTrainedConfig) -> PreTrainedModel:
    """The network of a configuration, first without numbers, to see how large it is."""
    factory = AutoModelForImageTextToText if sees(configuration) else AutoModelForCausalLM
    with torch.device("meta"):
        size = factory.from_config(configuration).num_parameters()
    assert size <= MOST_PARAMETERS, f"{configuration.model_type}: {size} parameters; what is left large?"
    return factory.from_config(configuration, dtype=torch.float32).eval()


AMPLIFYING = ("qwen3_5", "qwen3_5_text", "qwen3_next")
"""Families whose recurrence makes much of rounding: with weights as large as the others', the plain forward pass in
float32 is 1.6e-4 from that in float64."""


@torch.no_grad()
def enlarge(model: PreTrainedModel) -> None:
    """Weights so large that distributions are far from uniform, biases and scales that are not 0 and 1."""
    amplitude = 0.5 if model.config.model_type in AMPLIFYING else 1.0
    for _, parameter in sorted(model.named_parameters()):
        if not parameter.is_floating_point():
            continue
        if parameter.ndim >= 2:
            parameter.normal_(std=amplitude * parameter.shape[-1] ** -0.5)
        else:
            parameter.add_(torch.randn_like(parameter) * 0.2)
    for embedding in (model.get_input_embeddings(), model.get_output_embeddings()):
        if isinstance(getattr(embedding, "weight", None), torch.Tensor):
            embedding.weight.normal_(std=0.4)
