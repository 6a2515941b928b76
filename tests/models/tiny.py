"""Networks of random weights for tests: made in milliseconds, large enough to tell right from wrong."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedConfig, PreTrainedTokenizerFast

from sparkcli.config import ModelConfig, TrainConfig
from sparkcli.models.policy import Policy, add_adapter, load, save

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_tokenizer(*, chat: bool = True) -> PreTrainedTokenizerFast:
    """Every byte a token (256), and three markers: end of text, and those of the chat."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={symbol: i for i, symbol in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    markers = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    core.add_special_tokens([AddedToken(marker, special=True) for marker in markers])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def write_model(folder: Path, *, seed: int = 0, chat: bool = True, eos_bias: float = 0.0,
                head_dim: int = 8, tied: bool = False) -> Path:
    """A random Llama with grouped-query attention in a Hugging Face folder.

    Its weights are large, so that its distributions are far from uniform. `eos_bias` scales the row of the end marker
    in the head: the larger, the sooner completions end. vLLM's kernels want a `head_dim` of 32 at least.
    `tied`: the head is the embeddings.
    """
    tokenizer = byte_tokenizer(chat=chat)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=head_dim, max_position_embeddings=512, tie_word_embeddings=tied,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None)
    return write_network(folder, config, tokenizer, seed=seed, eos_bias=eos_bias)


def write_network(folder: Path, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerFast, *, seed: int = 0,
                  eos_bias: float = 0.0) -> Path:
    """A random model of any configuration, as `write_model` makes one."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 2:
                    parameter.normal_(std=0.3)
            model.get_output_embeddings().weight[tokenizer.eos_token_id] *= 1.0 + eos_bias
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def load_tiny(folder: Path, *, policy: Path | None = None, **settings: Any) -> Policy:
    """The model in `folder`, with the policy in `policy`, on the CPU; `settings` are a `ModelConfig`'s."""
    return load(ModelConfig(name=str(folder), policy=str(policy) if policy else None, device="cpu", **settings))


def stir(policy: Policy, *, seed: int = 0, scale: float = 0.1) -> None:
    """Moves every trainable weight, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in sorted(policy.model.named_parameters()):
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)
    policy.changed = True


def write_policies(model: Path, folder: Path) -> dict[str, Path]:
    """Policies of a model, as training would leave them: two adapters, and full weights, with the optimiser's state."""
    for seed, name in enumerate(("lora", "lora2", "full")):
        policy = load_tiny(model)
        if name != "full":
            add_adapter(policy, TrainConfig(lora_rank=4, lora_alpha=8, seed=seed))
        stir(policy, seed=seed)
        moments = {f"{key}.exp_avg": torch.ones_like(parameter) for key, parameter in policy.model.named_parameters()
                   if parameter.requires_grad}
        save(policy, folder / name, {"step": 1}, moments)
    return {name: folder / name for name in ("lora", "lora2", "full")}
