"""Small stand-ins: a random model in a folder, scored rollouts by hand, and samples of any length."""

import math
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sparkcli.config import ModelConfig
from sparkcli.models.policy import Policy, load
from sparkcli.records import Sampling, Scored, Verdict
from sparkcli.training.samples import Sample

VOCABULARY = 48


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 2 layers with random weights, large enough that its distributions are far from uniform."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                         num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
                         tie_word_embeddings=True, initializer_range=0.2, pad_token_id=0, bos_token_id=1,
                         eos_token_id=2)
    LlamaForCausalLM(config).save_pretrained(folder)
    words = {f"w{i}": i for i in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="w0", eos_token="w2").save_pretrained(folder)
    return folder


@pytest.fixture
def fresh(model_folder: Path) -> Callable[..., Policy]:
    """Loads the model anew, on the CPU; `fresh(directory)` loads a policy on top of it."""

    def build(directory: Path | None = None) -> Policy:
        return load(ModelConfig(name=str(model_folder), policy=str(directory) if directory else None, device="cpu"))

    return build


@pytest.fixture(scope="session")
def scored() -> Callable[..., Scored]:
    """Builds a scored rollout; give it what the test is about."""

    def build(id: str = "p", sample: int = 0, reward: float | None = 1.0, **fields: object) -> Scored:
        values: dict[str, object] = {
            "prompt": "1 + 1?", "samples": 4, "completion": "2", "prompt_token_ids": (5, 6, 7), "token_ids": (8, 9),
            "logprobs": (-0.5, -0.25),
            "sampling": Sampling(temperature=1.0, top_p=1.0, top_k=0, seed=0, max_tokens=8, engine="test"),
            "verdict": Verdict(status="correct" if reward else "wrong", verifier="exact"), **fields}
        return Scored(id=id, sample=sample, reward=reward, **values)  # type: ignore[arg-type]

    return build


@pytest.fixture(scope="session")
def phase(scored: Callable[..., Scored]) -> Callable[..., list[Scored]]:
    """Random rollouts of ragged groups: lengths, rewards, and log-probs of a policy that is some way off."""

    def build(groups: int = 6, samples: int = 4, seed: int = 0, temperature: float = 1.0) -> list[Scored]:
        draw = random.Random(seed)
        sampling = Sampling(temperature=temperature, top_p=1.0, top_k=0, seed=0, max_tokens=12, engine="test")

        def ids(length: int) -> tuple[int, ...]:
            return tuple(draw.randrange(3, VOCABULARY) for _ in range(length))

        records = []
        for group in range(groups):
            prompt = ids(draw.randint(2, 9))
            rewards = [1.0, 0.0, *(float(draw.random() < 0.5) for _ in range(samples - 2))]
            for number, reward in enumerate(rewards):
                completion = ids(draw.randint(1, 12))
                records.append(scored(f"{seed}/{group}", number, reward, prompt_token_ids=prompt, token_ids=completion,
                                      logprobs=tuple(-draw.uniform(2, 6) for _ in completion), sampling=sampling))
        return records

    return build


@pytest.fixture
def sample() -> Callable[..., Sample]:
    """Builds a sample with a prompt and a completion of given lengths."""

    def build(id: str = "p", number: int = 0, prompt: int = 3, completion: int = 2) -> Sample:
        return Sample(id=id, number=number, prompt_T=tuple(range(prompt)), completion_T=tuple(range(completion)),
                      logprobs_T=(-math.log(2),) * completion, temperature=1.0, task="solve", reward=1.0,
                      advantage=1.0)

    return build
