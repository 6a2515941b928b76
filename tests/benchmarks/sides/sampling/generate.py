"""transformers' `model.generate(num_return_sequences=N)` on left-padded batches: from token ids to token ids.

A batch has as many rows as ours has in flight, prompts in their order. It returns no log-probs, and so is spared them.
"""

from typing import Any

import torch
from inputs.sampling import Job
from sides.sampling.worker import Completion, Groups
from transformers import AutoModelForCausalLM, GenerationConfig
from transformers.utils import logging


def load(job: Job) -> Any:
    """The model, without the generation settings of its folder."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    model: Any = AutoModelForCausalLM.from_pretrained(job.model, dtype=job.dtype).to(job.device).eval()
    model.generation_config = GenerationConfig()
    return model


def settings(job: Job) -> GenerationConfig:
    """How tokens are drawn."""
    return GenerationConfig(do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=job.max_tokens,
                            num_return_sequences=job.samples, eos_token_id=job.stop_ids, pad_token_id=job.pad_id)


class Sampler:
    """The model."""

    name = "generate"

    def __init__(self, job: Job) -> None:
        self.model = load(job)

    def sample(self, job: Job) -> Groups:
        torch.manual_seed(job.seed)
        size = max(1, job.batch_size // job.samples)
        return [group for start in range(0, len(job.prompts), size)
                for group in self.batch(job.prompts[start:start + size], job)]

    def batch(self, prompts: list[list[int]], job: Job) -> Groups:
        """The groups of one batch."""
        longest = max(map(len, prompts))
        ids_PS = torch.tensor([[job.pad_id] * (longest - len(p)) + p for p in prompts])
        mask_PS = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
        output_BS = self.model.generate(ids_PS.to(job.device), attention_mask=mask_PS.to(job.device),
                                        generation_config=settings(job))
        rows = [Completion(ended(row, job.stop_ids), None) for row in output_BS[:, longest:].tolist()]
        return [rows[start:start + job.samples] for start in range(0, len(rows), job.samples)]


def ended(row: list[int], stop_ids: list[int]) -> list[int]:
    """A row up to its end marker."""
    end = next((place for place, token in enumerate(row, 1) if token in stop_ids), len(row))
    return row[:end]
