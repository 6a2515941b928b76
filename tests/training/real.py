"""Rollouts of the built-in model, by the real engine."""

from collections.abc import Sequence
from typing import Any

from sparkcli.builtin.tiny_math.task import problems
from sparkcli.config import ModelConfig, RolloutConfig
from sparkcli.engines import open_engine
from sparkcli.models.policy import Policy
from sparkcli.records import Rollout, Scored, Verdict, extend


def rollouts(policy: Policy | None = None, *, prompts: int = 6, samples: int = 4, max_tokens: int = 48,
             **sampling: Any) -> list[Rollout]:
    """Sampled for the first problems of the training split."""
    engine = open_engine(ModelConfig(name="builtin:tiny-math", device="cpu"), policy=policy)
    config = RolloutConfig(samples=samples, max_tokens=max_tokens, **sampling)
    return [rollout for group in engine.sample(problems("train", seed=0, limit=prompts), config) for rollout in group]


def alternately(drawn: Sequence[Rollout]) -> list[Scored]:
    """Right and wrong by turns, whatever the answers: every group teaches something."""
    rewards = [float(rollout.sample % 2 == 0) for rollout in drawn]
    return [extend(rollout, Scored, reward=reward, verdict=Verdict(status="correct" if reward else "wrong",
                                                                   verifier="exact"))
            for rollout, reward in zip(drawn, rewards, strict=True)]
