"""vLLM with prefix caching: from token ids to token ids with log-probs.

On a CPU in this process, so that its threads' time is counted, without compilation, and with room for its cache in GiB
that the variable VLLM_CPU_KVCACHE_SPACE can change.
"""

import os

from inputs.sampling import Job
from sides.sampling.worker import Completion, Groups


class Sampler:
    """An engine with room for the job's longest prompt and completion."""

    name = "vLLM"

    def __init__(self, job: Job) -> None:
        os.environ |= {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
        if job.device == "cpu":
            os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
            os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
        import vllm

        longest = max(map(len, job.prompts)) + job.max_tokens
        self.llm = vllm.LLM(**{
            "model": job.model, "dtype": job.dtype, "max_model_len": longest, "max_num_seqs": job.batch_size,
            "logprobs_mode": "processed_logprobs", "generation_config": "vllm", "enable_prefix_caching": True,
            "seed": job.seed, "enforce_eager": job.device == "cpu", **job.options.get("vllm", {})})

    def sample(self, job: Job) -> Groups:
        from vllm import SamplingParams

        how = SamplingParams(n=job.samples, temperature=1.0, max_tokens=job.max_tokens, logprobs=0,
                             stop_token_ids=job.stop_ids, detokenize=False)
        self.llm.reset_prefix_cache()
        outputs = self.llm.generate([{"prompt_token_ids": prompt} for prompt in job.prompts], how, use_tqdm=False)
        return [[Completion(list(c.token_ids), [place[token].logprob for token, place in
                                                zip(c.token_ids, c.logprobs, strict=True)])
                 for c in output.outputs] for output in outputs]
