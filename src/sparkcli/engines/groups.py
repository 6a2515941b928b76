"""Rollout records as every engine writes them."""

from collections.abc import Sequence
from typing import TypeVar

from sparkcli.config import SamplingConfig
from sparkcli.method.messages import begun
from sparkcli.records import FinishReason, Prompt, Rollout, Sampling, extend

T = TypeVar("T")

Sample = tuple[str, Sequence[int] | None, Sequence[float] | None, FinishReason]
"""Text without the end marker, token ids with it, a log-probability for each, and why it ended. Servers that tell
neither ids nor log-probs leave None."""


def how(config: SamplingConfig, engine: str) -> Sampling:
    """What a record says of how it was drawn; `engine` is its name and version, as `vllm/0.32.0`."""
    return Sampling(temperature=config.temperature, top_p=config.top_p, top_k=config.top_k, seed=config.seed,
                    max_tokens=config.max_tokens, engine=engine)


def sampled(prompt: Prompt, prompt_token_ids: Sequence[int] | None, samples: Sequence[Sample], sampling: Sampling,
            policy: str | None, *, in_thought: bool = False) -> list[Rollout]:
    """The group of one prompt; `in_thought`: the prompt ends within a thought."""
    read, beginning = _known(prompt_token_ids), begun(prompt)
    return [extend(prompt, Rollout, sample=number, samples=len(samples), completion=beginning + text,
                   finish_reason=reason, prompt_token_ids=read, token_ids=_known(token_ids),
                   logprobs=_known(logprobs), sampling=sampling, policy=policy, in_thought=in_thought)
            for number, (text, token_ids, logprobs, reason) in enumerate(samples)]


def failed(prompt: Prompt, sampling: Sampling, policy: str | None, error: str) -> list[Rollout]:
    """What stands in the place of a group that could not be sampled: one rollout that says why."""
    return [extend(prompt, Rollout, sample=0, samples=1, completion="", finish_reason="error", sampling=sampling,
                   policy=policy, error=error)]


def _known(values: Sequence[T] | None) -> tuple[T, ...] | None:
    return None if values is None else tuple(values)
