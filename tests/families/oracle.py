"""What transformers and PEFT themselves say of a model: plain forward passes over whole sequences, and `generate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tests.families.models import sees
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel


def load_plain(folder: Path) -> PreTrainedModel:
    """The model in a folder, as transformers loads it."""
    factory = AutoModelForImageTextToText if sees(AutoConfig.from_pretrained(folder)) else AutoModelForCausalLM
    return factory.from_pretrained(folder, dtype=torch.float32).eval()


def forward_logits(model: Any, prompt_ids: Sequence[int], completion_ids: Sequence[int]) -> Tensor:
    """Logits `[T, V]` before each token of a completion, by one pass over the whole sequence, without a cache."""
    ids_1T = torch.tensor([[*prompt_ids, *completion_ids]])
    logits_TV = model(input_ids=ids_1T, use_cache=False).logits[0]
    return logits_TV[len(prompt_ids) - 1:-1].float()


def forward_logprobs(model: Any, prompt_ids: Sequence[int], completion_ids: Sequence[int],
                     temperature: float = 1.0) -> Tensor:
    """Log-probs `[T]` of a completion's tokens at a temperature."""
    logprobs_TV = (forward_logits(model, prompt_ids, completion_ids) / temperature).log_softmax(-1)
    return logprobs_TV.gather(1, torch.tensor(list(completion_ids))[:, None])[:, 0]


@torch.no_grad()
def greedy(model: PreTrainedModel, prompt_ids: Sequence[int], count: int) -> list[int]:
    """What `generate` continues a prompt with, its end marker included."""
    ids_1T = torch.tensor([list(prompt_ids)])
    out = model.generate(ids_1T, attention_mask=torch.ones_like(ids_1T), do_sample=False, max_new_tokens=count)
    return out[0, len(prompt_ids):].tolist()
