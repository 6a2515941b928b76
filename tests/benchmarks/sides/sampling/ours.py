"""`sparkcli.engines.open_engine(...).sample`, the transformers engine: from prompt records to rollout records."""

from inputs.sampling import Job
from sides.sampling.worker import Completion, Groups

from sparkcli.config import ModelConfig, RolloutConfig
from sparkcli.engines import open_engine
from sparkcli.records import Prompt


class Sampler:
    """The engine, as `sparkcli rollout` opens it."""

    name = "ours"

    def __init__(self, job: Job) -> None:
        self.engine = open_engine(ModelConfig(name=job.model, engine="transformers", device=job.device,
                                              dtype=job.dtype))  # type: ignore[arg-type]

    def sample(self, job: Job) -> Groups:
        """Raises RuntimeError if the prompts are not read as the other sides are told to read them."""
        config = RolloutConfig(samples=job.samples, max_tokens=job.max_tokens, batch_size=job.batch_size, seed=job.seed)
        prompts = [Prompt(id=str(number), prompt=text) for number, text in enumerate(job.texts)]
        groups = list(self.engine.sample(prompts, config))
        if [list(group[0].prompt_token_ids or ()) for group in groups] != job.prompts:
            raise RuntimeError(f"our prompts are not the other sides': {groups[0][0].error or 'other token ids'}")
        return [[Completion(list(r.token_ids or ()), list(r.logprobs or ())) for r in group] for group in groups]
