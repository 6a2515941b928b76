"""transformers' continuous batching, `model.generate_batch`: from token ids to token ids with log-probs."""

from dataclasses import replace

from inputs.sampling import Job
from sides.sampling.generate import load, settings
from sides.sampling.worker import Completion, Groups
from transformers import ContinuousBatchingConfig


class Sampler:
    """The model."""

    name = "generate_batch"

    def __init__(self, job: Job) -> None:
        self.model = load(job)

    def sample(self, job: Job) -> Groups:
        options = dict(job.options.get("generate_batch", {}))
        repeated = options.pop("repeated", False)
        config = ContinuousBatchingConfig(return_logprobs=True, seed=job.seed, **options)
        how = settings(replace(job, samples=1) if repeated else job)
        prompts = [prompt for prompt in job.prompts for _ in range(job.samples)] if repeated else job.prompts
        outputs = list(self.model.generate_batch(prompts, generation_config=how,
                                                 continuous_batching_config=config).values())
        rows = [Completion(list(o.generated_tokens), list(o.logprobs)) for o in outputs]
        if len(rows) != len(job.prompts) * job.samples:
            raise RuntimeError(f"generate_batch returned {len(rows)} completions")
        return [rows[start:start + job.samples] for start in range(0, len(rows), job.samples)]
