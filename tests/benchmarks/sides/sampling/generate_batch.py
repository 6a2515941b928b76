"""transformers' continuous batching, `model.generate_batch`: from token ids to token ids with log-probs.

On a GPU its own settings. On a CPU the best of those that were tried, on tiny-math 5 times the tokens per processor
second of its own: left alone it reserves 60 % of the memory and clears it, and each step attends from every row in
flight to the keys of all of them under one mask, so that many rows in flight cost more than they give. On prompts of
400 tokens, with 16 rows, two fifths of the time were matrix products, a quarter attention, a fifth copies.
`num_return_sequences` shares a prompt's blocks; repeating the prompt was a sixth slower on tiny-math and no clear
difference on long prompts. Page sizes, schedulers and padding intervals made little difference, and double buffering
and the decoding path with a block table want a GPU.
"""

from typing import Any

from inputs.sampling import Job
from sides.sampling.generate import load, settings
from sides.sampling.worker import Completion, Groups
from transformers import ContinuousBatchingConfig

CACHED = 10_000
"""Tokens in flight on a CPU: about 16 rows of 650 tokens, 32 of 320."""
PAGE = 32


class Sampler:
    """The model."""

    name = "generate_batch"

    def __init__(self, job: Job) -> None:
        self.model = load(job)

    def sample(self, job: Job) -> Groups:
        config = ContinuousBatchingConfig(**{"return_logprobs": True, "seed": job.seed, **self.sizes(job),
                                             **job.options.get("generate_batch", {})})
        outputs = list(self.model.generate_batch(job.prompts, generation_config=settings(job),
                                                 continuous_batching_config=config).values())
        rows = [Completion(list(o.generated_tokens), list(o.logprobs)) for o in outputs]
        if len(rows) != len(job.prompts) * job.samples:
            raise RuntimeError(f"generate_batch returned {len(rows)} completions")
        return [rows[start:start + job.samples] for start in range(0, len(rows), job.samples)]

    @staticmethod
    def sizes(job: Job) -> dict[str, Any]:
        """Of its cache and batches on a CPU."""
        if job.device != "cpu":
            return {}
        longest = max(map(len, job.prompts)) + job.max_tokens
        return {"page_size": PAGE, "num_blocks": 3 * CACHED // PAGE, "max_batch_tokens": 1024,
                "max_requests_per_batch": max(1, CACHED // longest)}
