"""Rollout records as every engine writes them."""

from collections.abc import Sequence

from sparkcli.records import FinishReason, Prompt, Rollout, Sampling, extend

Sample = tuple[str, Sequence[int], Sequence[float], FinishReason]
"""Text without the end marker, token ids with it, a log-probability for each, and why it ended."""


def sampled(prompt: Prompt, prompt_token_ids: Sequence[int], samples: Sequence[Sample], sampling: Sampling,
            policy: str) -> list[Rollout]:
    """The group of one prompt."""
    read = tuple(prompt_token_ids)
    return [extend(prompt, Rollout, sample=number, samples=len(samples), completion=text, finish_reason=reason,
                   prompt_token_ids=read, token_ids=tuple(token_ids), logprobs=tuple(logprobs), sampling=sampling,
                   policy=policy)
            for number, (text, token_ids, logprobs, reason) in enumerate(samples)]


def failed(prompt: Prompt, sampling: Sampling, policy: str, error: str) -> list[Rollout]:
    """What stands in the place of a group that could not be sampled: one rollout that says why."""
    return [extend(prompt, Rollout, sample=0, samples=1, completion="", finish_reason="error", sampling=sampling,
                   policy=policy, error=error)]
