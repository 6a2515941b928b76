"""Made-up rollouts of a made-up model: a Qwen2 with random weights in a folder, and groups of given lengths.

Token ids are drawn at random; each group has right and wrong answers, the longer ones being right, so that the loss is
well away from 0. The log-probabilities are the model's own, from a plain forward pass over each sequence, so that the
first update's ratios are 1.
"""

import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from sparkcli.records import Prompt

SAMPLES = 8
SEED = 1


@dataclass(frozen=True)
class Shape:
    """A Qwen2's sizes."""

    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    vocabulary: int

    @property
    def linears(self) -> list[tuple[int, int]]:
        """Inputs and outputs of each linear layer of one block: query, key, value, output, gate, up, down."""
        kv_width = self.width // self.heads * self.kv_heads
        return [(self.width, self.width), (self.width, kv_width), (self.width, kv_width), (self.width, self.width),
                (self.width, self.inner), (self.width, self.inner), (self.inner, self.width)]

    @property
    def body(self) -> int:
        """Weights that every token is multiplied with."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.linears)

    @property
    def head(self) -> int:
        """Weights that every scored token is multiplied with."""
        return self.width * self.vocabulary

    def adapter(self, rank: int) -> int:
        """Weights of LoRA on all linear layers."""
        return self.layers * sum(rank * (inputs + outputs) for inputs, outputs in self.linears)


SHAPES = {
    "tiny": Shape(layers=2, width=64, inner=128, heads=4, kv_heads=2, vocabulary=512),
    "small": Shape(layers=8, width=384, inner=1536, heads=6, kv_heads=2, vocabulary=32_768),
    "1.5b": Shape(layers=28, width=1536, inner=8960, heads=12, kv_heads=2, vocabulary=151_936),
}


def read_shape(folder: Path) -> Shape:
    """Of the model in a folder."""
    config = orjson.loads((folder / "config.json").read_bytes())
    return Shape(layers=config["num_hidden_layers"], width=config["hidden_size"], inner=config["intermediate_size"],
                 heads=config["num_attention_heads"], kv_heads=config["num_key_value_heads"],
                 vocabulary=config["vocab_size"])


@dataclass(frozen=True)
class Lengths:
    """Tokens of each prompt, and the bounds between which completions' lengths are drawn."""

    prompt: int
    shortest: int
    longest: int


LENGTHS = {"solve": Lengths(prompt=120, shortest=60, longest=180), "recycled": Lengths(400, 30, 90)}


@dataclass(frozen=True)
class Group:
    """One prompt's samples, as a sampler and a verifier leave them."""

    prompt: list[int]
    completions: list[list[int]]
    logprobs: list[list[float]]
    rewards: list[float]
    text: str = ""
    """Of a prompt with an image."""
    image: str = ""
    """Path; empty for a prompt of token ids alone."""
    patches: int = 0
    """That the image is cut into."""

    def record(self, id: str) -> Prompt:
        """The prompt as people write it."""
        return Prompt(id=id, prompt=self.text, images=(self.image,) if self.image else ())


def draw(lengths: Lengths, groups: int, vocabulary: int) -> list[Group]:
    """Groups without log-probabilities."""
    chance = random.Random(SEED)

    def ids(count: int) -> list[int]:
        return [chance.randrange(2, vocabulary) for _ in range(count)]

    def group() -> Group:
        prompt = ids(lengths.prompt)
        completions = [ids(chance.randint(lengths.shortest, lengths.longest)) for _ in range(SAMPLES)]
        right = sorted(completions, key=len)[-chance.randint(1, SAMPLES - 1):]
        return Group(prompt, completions, [], [float(completion in right) for completion in completions])

    return [group() for _ in range(groups)]


def write_model(folder: Path, shape: Shape, dtype: str, device: str) -> None:
    """A Qwen2 with random weights and tied embeddings, and a tokenizer whose words are `w0`, `w1`, …"""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(SEED)
    config = Qwen2Config(vocab_size=shape.vocabulary, hidden_size=shape.width, intermediate_size=shape.inner,
                         num_hidden_layers=shape.layers, num_attention_heads=shape.heads,
                         num_key_value_heads=shape.kv_heads, tie_word_embeddings=True, bos_token_id=None,
                         eos_token_id=1, pad_token_id=0, dtype=dtype)
    with torch.device(device):
        Qwen2ForCausalLM(config).to(getattr(torch, dtype)).save_pretrained(folder)
    words = {f"w{i}": i for i in range(shape.vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="w0", eos_token="w1").save_pretrained(folder)


def write_rollouts(path: Path, model_folder: Path, groups: list[Group], dtype: str, device: str) -> None:
    """The groups with the model's log-probabilities, as JSON."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    model: Any = AutoModelForCausalLM.from_pretrained(model_folder, dtype=dtype).to(device).eval()

    def score(prompt: list[int], completion: list[int]) -> list[float]:
        ids_1S = torch.tensor([prompt + completion], device=device)
        logits_TV = model(ids_1S).logits[0, len(prompt) - 1:-1].float()
        logprobs_T: list[float] = logits_TV.log_softmax(-1).gather(1, ids_1S[0, len(prompt):, None])[:, 0].tolist()
        return logprobs_T

    with torch.no_grad():
        scored = [Group(g.prompt, g.completions, [score(g.prompt, c) for c in g.completions], g.rewards)
                  for g in groups]
    path.write_bytes(orjson.dumps([asdict(group) for group in scored]))


def read_rollouts(path: Path) -> list[Group]:
    """What `write_rollouts` wrote."""
    return [Group(**fields) for fields in orjson.loads(path.read_bytes())]
