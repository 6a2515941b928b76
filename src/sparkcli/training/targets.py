"""What a phase wants of each sample: its advantage, and whether it is trained on at all. No tensors of the model.

    reward (less KL, if it is in the reward) → advantage → constant groups and cut completions out → parts
"""

import math
from collections.abc import Iterable, Sequence

import torch

from sparkcli.config import TrainConfig
from sparkcli.method.advantages import advantages, is_constant
from sparkcli.method.objectives import Objective
from sparkcli.training.batches import Part
from sparkcli.training.losses import kl_of
from sparkcli.training.samples import Sample


def assign_advantages(groups: Sequence[Sequence[Sample]], objective: Objective, config: TrainConfig) -> None:
    """Sets each sample's advantage.

    With `kl_in = "reward"` a completion's reward is first lowered by `kl` times its KL to the reference, summed over
    its tokens (as in InstructGPT, arXiv 2203.02155); the sampler's own log-probs stand for the policy.
    """
    rewards = [[sample.reward - taxed(sample, config) for sample in group] for group in groups]
    for group, values in zip(groups, advantages(rewards, objective.advantage), strict=True):
        for sample, advantage in zip(group, values, strict=True):
            sample.advantage = advantage or 0.0


def taxed(sample: Sample, config: TrainConfig) -> float:
    """What the KL takes off a sample's reward."""
    if config.kl_in == "loss" or sample.reference_T is None:
        return 0.0
    kl_T = kl_of(config.kl_estimator, torch.tensor(sample.logprobs_T), sample.reference_T)
    return config.kl * math.fsum(kl_T.tolist())


def trained(groups: Iterable[Sequence[Sample]], objective: Objective, config: TrainConfig) -> list[Part]:
    """The samples that an update's mean is over, as parts that share prompt tokens and temperature.

    Empty completions have nothing to train on. A constant group is judged by its rewards as they stand in the record:
    a KL taken off them makes differences that the answers do not have.
    """
    parts: list[Part] = []
    for group in groups:
        if objective.constant_groups == "drop" and is_constant([sample.reward for sample in group]):
            continue
        shared: dict[tuple[tuple[int, ...], float], Part] = {}
        for sample in group:
            if sample.completion_T and not (sample.truncated and config.truncated == "mask"):
                shared.setdefault((sample.prompt_T, sample.temperature), []).append(sample)
        parts += shared.values()
    return parts


def needs_forward(sample: Sample, config: TrainConfig) -> bool:
    """Whether a sample's tokens carry a gradient; one without an advantage counts in the mean alone."""
    return bool(sample.advantage or config.entropy_bonus or (config.kl and config.kl_in == "loss"))
