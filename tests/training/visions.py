"""Prompts with images for networks of random weights: pixels are noise, tokens are drawn, places are exact."""

import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from tests.logprobs import naive_logprobs
from tests.models.vision import PATCH, write_vision_model
from torch import Tensor
from transformers import AutoModelForImageTextToText, PreTrainedModel

from sparkcli.models.pictures import Pictures
from sparkcli.models.policy import Policy
from sparkcli.models.prompts import Encoded
from sparkcli.models.sight import place
from sparkcli.records import Prompt, Sampling, Scored, Verdict
from sparkcli.training.forward import Place
from sparkcli.training.samples import Sample

KINDS = ("qwen2_5_vl", "qwen3_vl", "llava")
SIDE = 8
"""Pixels of a side of LLaVA's image, which is four patches and four tokens."""


def write(folder: Path, kind: str) -> Path:
    """A random network; LLaVA's counts positions on one axis."""
    if kind != "llava":
        return write_vision_model(folder, kind=kind)  # type: ignore[arg-type]
    torch.manual_seed(0)
    text = transformers.LlamaConfig(vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                                    num_attention_heads=4, num_key_value_heads=2, initializer_range=0.2)
    vision = transformers.CLIPVisionConfig(hidden_size=16, intermediate_size=24, num_hidden_layers=3, image_size=SIDE,
                                           num_attention_heads=2, patch_size=SIDE // 2, projection_dim=16)
    config = transformers.LlavaConfig(text_config=text, vision_config=vision, image_token_index=299)
    network = transformers.LlavaForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(std=0.1)
    network.save_pretrained(folder)
    return folder


def load(folder: Path) -> Any:
    """The network, without a policy around it."""
    return AutoModelForImageTextToText.from_pretrained(folder, dtype="float32").eval()


@dataclasses.dataclass
class Gallery:
    """Prompts by the id of their samples."""

    network: PreTrainedModel
    seed: int = 0
    encoded: dict[str, Encoded] = dataclasses.field(default_factory=dict)

    def part(self, name: str, images: list[tuple[int, int]], lengths: list[int], *, words: int = 5,
             temperature: float = 1.0, sampled: int | None = None) -> list[Sample]:
        """Samples of a prompt with images of given height and width in image tokens, words around each of them.

        `sampled`: a token that each completion ends with.
        """
        draw = torch.Generator().manual_seed(self.seed + len(self.encoded))

        def ids(length: int) -> list[int]:
            return torch.randint(3, 250, (length,), generator=draw).tolist()

        marker = self.network.config.image_token_id
        token_ids = ids(words)
        for height, width in images:
            token_ids += [marker] * height * width + ids(words)
        kinds_1T = torch.tensor([[int(token == marker) for token in token_ids]])
        self.encoded[name] = Encoded(token_ids, self._pixels(images, draw), kinds_1T)
        completions = [ids(length - (sampled is not None)) + [sampled] * (sampled is not None) for length in lengths]
        return [Sample(id=name, number=n, task="solve", prompt_T=tuple(token_ids), completion_T=tuple(completion),
                       logprobs_T=(-1.0,) * len(completion), temperature=temperature, reward=1.0)
                for n, completion in enumerate(completions)]

    @property
    def place(self) -> Place:
        """As a scorer takes it."""
        return lambda sample: place(self.network, self.encoded[sample.id])

    def _pixels(self, images: list[tuple[int, int]], draw: torch.Generator) -> dict[str, Tensor]:
        if not images:
            return {}
        if self.network.config.model_type == "llava":
            return {"pixel_values": torch.randn(len(images), 3, SIDE, SIDE, generator=draw)}
        patches = sum(4 * height * width for height, width in images)
        return {"pixel_values": torch.randn(patches, 3 * 2 * PATCH * PATCH, generator=draw),
                "image_grid_thw": torch.tensor([[1, 2 * height, 2 * width] for height, width in images])}


def rollouts(policy: Policy, pictures: dict[str, str], *, samples: int = 4, seed: int = 0) -> list[Scored]:
    """Scored rollouts of prompts that show one image, two at places of their own, and none: encoded as for sampling,
    completions drawn at random, log-probs the policy's own."""
    prompts = [
        Prompt(id="one", prompt="what is it?", images=(pictures["wide"],)),
        Prompt(id="two", images=(pictures["odd"], pictures["square"]), prompt=[
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "or"}, {"type": "image"}]}]),
        Prompt(id="none", prompt="1 + 1?"),
    ]
    draw = random.Random(seed)
    found = []
    for prompt in prompts:
        placed = Pictures(policy).placed(prompt)
        rows = [[draw.randrange(250) for _ in range(draw.randint(1, 8))] for _ in range(samples)]
        with torch.no_grad():
            logprobs_BT, _ = naive_logprobs(policy.model, [placed], [rows])
        found += [scored(policy, prompt, number, placed.token_ids, row, logprobs_T.tolist()[:len(row)], samples)
                  for number, (row, logprobs_T) in enumerate(zip(rows, logprobs_BT, strict=True))]
    return found


def scored(policy: Policy, prompt: Prompt, number: int, prompt_ids: Sequence[int], row: list[int],
           logprobs: list[float], samples: int) -> Scored:
    """A rollout of a prompt; right and wrong by turns."""
    sampling = Sampling(temperature=1.0, top_p=1.0, top_k=0, seed=0, max_tokens=12, engine="test")
    return Scored(id=prompt.id, prompt=prompt.prompt, images=prompt.images, sample=number, samples=samples,
                  completion=policy.reader.texts([row])[0], prompt_token_ids=tuple(prompt_ids), token_ids=tuple(row),
                  logprobs=tuple(logprobs), sampling=sampling, policy=policy.fingerprint, reward=float(number % 2),
                  verdict=Verdict(status="correct" if number % 2 else "wrong", verifier="exact"))
