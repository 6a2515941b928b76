"""What the sides of the sampling benchmark are asked: prompts of a model, and how to sample them.

The made-up model is a Qwen2 with random weights whose completions end by chance: one channel of its residual stream is
the same constant at every position, and the end marker's row of the head reads nothing else, so that its logit is
nearly constant and lengths are nearly geometric.
"""

import random
import string
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

SEED = 1
VOCABULARY = 16_384
END = 1
"""Id of the made-up model's end marker; 0 is its padding."""


@dataclass(frozen=True)
class Job:
    """Sampling: `samples` completions of each prompt, at temperature 1 from the whole vocabulary."""

    model: str
    """Folder."""
    device: str
    dtype: str
    threads: int
    texts: list[str]
    """The prompts as users give them; `chat` tells whether they go through the model's chat template."""
    prompts: list[list[int]]
    """The same prompts as token ids, of which a side that takes ids is told."""
    stop_ids: list[int]
    pad_id: int
    samples: int
    max_tokens: int
    batch_size: int
    """Completions in flight at once, where a side can be told."""
    seed: int
    options: dict[str, Any]
    """Arguments of a side's own, by side."""

    def save(self, path: Path) -> None:
        """Writes what `load` reads."""
        path.write_bytes(orjson.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> "Job":
        """What `save` wrote."""
        return cls(**orjson.loads(path.read_bytes()))


def arithmetic(count: int) -> list[str]:
    """Prompts of builtin:tiny-math."""
    from sparkcli.builtin.tiny_math.task import problems

    return [str(prompt.prompt) for prompt in problems("train", SEED, count)]


def letters(count: int, length: int) -> list[str]:
    """Prompts of the made-up model: `length` letters each, which are tokens to it."""
    chance = random.Random(SEED)
    return ["".join(chance.choices(string.ascii_lowercase, k=length)) for _ in range(count)]


def read_by(model: str, texts: list[str]) -> tuple[list[list[int]], list[int], int]:
    """Token ids of the prompts as `sparkcli` encodes them, the ids that end a completion, the padding's id."""
    from sparkcli.config import ModelConfig
    from sparkcli.models.prompts import encode
    from sparkcli.models.reader import load_reader
    from sparkcli.records import Prompt

    reader = load_reader(Path(model), ModelConfig(name=model))
    ids = [encode(Prompt(id=str(i), prompt=text), reader).token_ids for i, text in enumerate(texts)]
    pad = reader.tokenizer.pad_token_id
    return ids, list(reader.stop_ids), reader.stop_ids[0] if pad is None else pad


def write_model(folder: Path, mean_length: float) -> None:
    """A Qwen2 of 26 M parameters and a tokenizer whose words are `w2`, `w3`, …

    Args:
        folder: where to.
        mean_length: tokens of a completion without a limit.
    """
    import torch
    from tokenizers import pre_tokenizers
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(SEED)
    config = Qwen2Config(vocab_size=VOCABULARY, hidden_size=512, intermediate_size=1024, num_hidden_layers=4,
                         num_attention_heads=8, num_key_value_heads=2, max_position_embeddings=2048,
                         tie_word_embeddings=False, bos_token_id=None, eos_token_id=END, pad_token_id=0)
    model: Any = Qwen2ForCausalLM(config).eval()
    with torch.no_grad():
        _hold_channel(model)
        _set_end(model, mean_length)
    model.save_pretrained(folder)
    symbols = ["<pad>", "<end>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    ids = {symbol: i for i, symbol in enumerate([*symbols, *(f"w{i}" for i in range(len(symbols), VOCABULARY))])}
    Qwen2Tokenizer(vocab=ids, merges=[], pad_token="<pad>", eos_token="<end>").save_pretrained(folder)


def _hold_channel(model: Any) -> None:
    """Makes channel 0 of the residual stream the same everywhere: embeddings hold it, no layer writes it."""
    embeddings_VD = model.model.embed_tokens.weight.normal_(std=1.0)
    embeddings_VD[:, 0] = 4.0
    for layer in model.model.layers:
        for writer in (layer.self_attn.o_proj, layer.mlp.down_proj):
            writer.weight.normal_(std=0.05)
            writer.weight[0] = 0.0
    model.lm_head.weight.normal_(std=0.1)
    model.lm_head.weight[:, 0] = 0.0


def _set_end(model: Any, mean_length: float) -> None:
    """The end marker's row of the head, from the logits of random text."""
    import torch

    hidden_TD = model.model(torch.randint(2, VOCABULARY, (4, 256))).last_hidden_state.flatten(0, 1)
    others_T = model.lm_head(hidden_TD)[:, 2:].logsumexp(1)
    wanted = others_T.mean() - torch.log(torch.tensor(mean_length - 1.0))
    model.lm_head.weight[END] = 0.0
    model.lm_head.weight[END, 0] = wanted / hidden_TD[:, 0].mean()
