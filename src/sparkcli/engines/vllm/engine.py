"""Samples in this process with vLLM: token ids in, token ids and log-probs out.

Prompts are handed over while others run, so there is no end of a batch to wait for; groups come out in the order they
came in. One policy at a time: adapters and bare rows never share a batch, which vLLM gets wrong on CPUs.

Not done here: videos, 4-bit weights.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from sparkcli.config import ModelConfig, RolloutConfig, SamplingConfig, TrainConfig
from sparkcli.engines.base import window
from sparkcli.engines.groups import Sample, failed, how, sampled
from sparkcli.engines.seeds import prompt_seed
from sparkcli.engines.vllm.containment import unwarned
from sparkcli.engines.vllm.holding import Held, Holder
from sparkcli.engines.vllm.images import difference, put
from sparkcli.engines.vllm.opening import Opener, Room, failures, one_line
from sparkcli.errors import InputError, SparkError, UsageError
from sparkcli.models.fingerprint import check_policy, model_fingerprint
from sparkcli.models.locate import model_folder
from sparkcli.models.prompts import encode
from sparkcli.models.reader import load_reader
from sparkcli.records import Prompt, Rollout

LEAST_TOP_P = 1e-9
"""What vLLM is told for 0, which it does not take: the most likely token alone, as well."""


@dataclass(eq=False)
class _Job:
    """A prompt on its way through vLLM."""

    name: str
    prompt: Prompt
    token_ids: list[int] = field(default_factory=list)
    output: Any = None
    """vLLM's `RequestOutput`, once all samples are finished."""
    error: str | None = None


class VLLMEngine:
    """An `Engine` around a `vllm.LLM`.

    Args:
        model: which model and policy.
        sampling: the longest prompts and completions expected, and arguments of vllm.LLM. Where longer ones are asked
            for later, the LLM is made anew.
        beside_trainer: a trainer in this process uses the device as well.
        trained: how; room for its adapter is made at once.

    Raises:
        UsageError: vLLM is missing, lacks a feature or an argument, or cannot load the model or policy.
    """

    def __init__(self, model: ModelConfig, sampling: SamplingConfig, *, beside_trainer: bool,
                 trained: TrainConfig | None) -> None:
        if model.load_in_4bit:
            raise UsageError("load_in_4bit: the vllm engine samples whole weights; leave it out, or try --engine "
                             "transformers")
        self._folder = model_folder(model.name)
        self._base = model_fingerprint(self._folder)
        self._reader = load_reader(self._folder, model)
        rank = trained.lora_rank if trained and trained.method == "lora" else 0
        self._room = Room(self._longest(sampling), rank, rank > 0 and trained is not None and trained.train_vision)
        self._holder = Holder(Opener(self._folder, model, sampling, beside_trainer), self._room)
        self._jobs: dict[str, _Job] = {}
        self._count = 0
        self._policy: Held
        try:
            self.load_policy(Path(model.policy) if model.policy else None)
        except SparkError:
            self.close()
            raise

    def sample(self, prompts: Iterable[Prompt], config: RolloutConfig) -> Iterator[list[Rollout]]:
        """One group per prompt, in order. The policy must not change while groups are being taken."""
        self._bring(self._policy, self._longest(config))
        import vllm

        self._params(config, seed=0, max_tokens=1)
        policy, sampling = self._policy.fingerprint, how(config, f"vllm/{vllm.__version__}")
        stream, ahead = iter(prompts), window(config) + 1
        order: deque[_Job] = deque()
        try:
            while True:
                order.extend(self._submitted(prompt, config) for prompt in islice(stream, ahead - len(order)))
                if not order:
                    return
                job = order[0]
                while job.output is None and job.error is None:
                    self._step(job)
                order.popleft()
                yield (failed(job.prompt, sampling, policy, job.error) if job.error else
                       sampled(job.prompt, job.token_ids, self._samples(job, config), sampling, policy,
                               in_thought=self._reader.opens_thought(job.token_ids)))
        finally:
            self._abort(order)

    def load_policy(self, directory: Path | None) -> None:
        """From now on samples the policy in `directory`; None is the bare model."""
        if directory is not None:
            check_policy(directory, self._base)
        policy = Held.found(self._folder, self._base, directory)
        self._bring(policy, self._room.tokens)
        self._policy = policy

    def rest(self) -> None:
        """Gives weights and cache of the device back where the platform lets vLLM sleep; else does nothing."""
        self._abort(list(self._jobs.values()))
        self._holder.rest()

    def close(self) -> None:
        """Ends vLLM and frees what it holds."""
        self._abort(list(self._jobs.values()))
        self._holder.drop()

    def _longest(self, config: SamplingConfig) -> int:
        """Tokens of the longest prompt that `config` allows and its completion."""
        tokens = config.max_prompt_tokens + config.max_tokens
        return tokens if self._reader.context is None else min(tokens, self._reader.context)

    def _bring(self, policy: Held, tokens: int) -> None:
        if self._holder.lacks(policy, tokens):
            self._abort(list(self._jobs.values()))
            self._holder.bring(policy, tokens)

    def _params(self, config: RolloutConfig, *, seed: int, max_tokens: int) -> Any:
        """vLLM's settings of one prompt. Greedy samples are all alike, so one is drawn.

        Raises:
            UsageError: vLLM cannot sample so.
        """
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        try:
            params = SamplingParams(
                n=config.samples if config.temperature else 1, seed=seed, temperature=config.temperature,
                top_p=max(config.top_p, LEAST_TOP_P), top_k=config.top_k, max_tokens=max_tokens,
                stop_token_ids=list(self._reader.stop_ids), logprobs=0, flat_logprobs=True, detokenize=False,
                output_kind=RequestOutputKind.FINAL_ONLY)
        except failures() as error:
            raise UsageError(f"vllm cannot sample so: {one_line(error)}; change the setting, or try --engine "
                             "transformers") from error
        if params.temperature != config.temperature:
            raise UsageError(f"temperature {config.temperature}: vllm takes {params.temperature} instead; give that, "
                             "or 0, or try --engine transformers")
        return params

    def _submitted(self, prompt: Prompt, config: RolloutConfig) -> _Job:
        """A prompt that vLLM has, or one with an error."""
        self._count += 1
        job = _Job(str(self._count), prompt)
        try:
            job.token_ids, read = self._read(prompt, config)
            room = min(config.max_tokens, self._holder.tokens - len(job.token_ids))
            params = self._params(config, seed=prompt_seed(config.seed, prompt.id), max_tokens=room)
            self._holder.llm.llm_engine.add_request(
                job.name, read, params, lora_request=self._holder.request)
        except InputError as error:
            job.error = str(error)
        except failures() as error:
            job.error = f"prompt {prompt.id!r}: vllm refuses it: {one_line(error)}"
        else:
            self._jobs[job.name] = job
        return job

    def _read(self, prompt: Prompt, config: RolloutConfig) -> tuple[list[int], Any]:
        """The tokens of a prompt, and what vLLM takes for it.

        Raises:
            InputError: it cannot be read, is too long, or vLLM reads its images otherwise.
        """
        from vllm.inputs import tokens_input

        encoded = encode(prompt, self._reader, config.max_prompt_tokens)
        length, tokens = len(encoded.token_ids), self._holder.tokens
        if length >= tokens:
            raise InputError(f"prompt {prompt.id!r}: {length} tokens leave no room in vllm's max_model_len of "
                             f"{tokens}; raise it in [rollout.vllm], or leave it out")
        if not encoded.pixels:
            return encoded.token_ids, tokens_input(encoded.token_ids)
        with unwarned():
            [read] = self._holder.llm.llm_engine.renderer.render_cmpl([put(prompt, self._reader)])
        if found := difference(encoded.token_ids, read["prompt_token_ids"]):
            raise InputError(f"prompt {prompt.id!r}: vllm {found}; or try --engine transformers")
        return encoded.token_ids, read

    def _step(self, awaited: _Job) -> None:
        """One token for each sample that vLLM runs.

        Raises:
            SparkError: vLLM failed, or was told to stop what is awaited.
        """
        if awaited.name not in self._jobs:
            raise SparkError("the policy was changed, or the engine rested, while groups were being taken; take them "
                             "all before")
        try:
            with torch.random.fork_rng(devices=[]):  # vLLM draws from the global generator on CPUs
                outputs = self._holder.llm.llm_engine.step()
        except failures() as error:
            self._jobs.clear()
            self._holder.drop()
            raise SparkError(f"vllm failed while sampling: {one_line(error)}; try other arguments in [rollout.vllm], "
                             "or --engine transformers") from error
        for output in outputs:
            if output.finished and output.request_id in self._jobs:
                self._jobs.pop(output.request_id).output = output

    def _samples(self, job: _Job, config: RolloutConfig) -> list[Sample]:
        """What vLLM drew, as records have it."""
        completions = [list(completion.token_ids) for completion in job.output.outputs]
        texts = self._reader.texts(completions)
        samples: list[Sample] = []
        for completion, token_ids, text in zip(job.output.outputs, completions, texts, strict=True):
            logprobs = [completion.logprobs[i][token].logprob for i, token in enumerate(token_ids)]
            stopped = bool(token_ids) and token_ids[-1] in self._reader.stop_ids
            samples.append((text, token_ids, logprobs, "stop" if stopped else "length"))
        return samples if config.temperature else samples * config.samples

    def _abort(self, jobs: Iterable[_Job]) -> None:
        """Takes prompts out of vLLM that are still in it."""
        names = [job.name for job in jobs if self._jobs.pop(job.name, None)]
        if names and self._holder.llm is not None:
            self._holder.llm.llm_engine.abort_request(names)
