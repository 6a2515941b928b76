"""What a phase wants of each sample: its advantage, its weight, and whether it is trained on at all.

    reward (less KL, if it is in the reward) → advantage → constant groups and cut completions out → parts
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from sparkcli.config import TrainConfig
from sparkcli.method.advantages import advantages, is_constant
from sparkcli.method.objectives import Objective, sample_weights
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
    """The samples that an update's mean is over, as parts that share prompt and temperature.

    Empty completions have nothing to train on. A constant group is judged by its rewards as they stand in the record:
    a KL taken off them makes differences that the answers do not have.
    """
    parts: list[Part] = []
    for group in groups:
        if objective.constant_groups == "drop" and is_constant([sample.reward for sample in group]):
            continue
        shared: dict[tuple[tuple[int, ...], float, int], Part] = {}
        for sample in group:
            if sample.completion_T and not (sample.truncated and config.truncated == "mask"):
                shared.setdefault((sample.prompt_T, sample.temperature, id(sample.prompt)), []).append(sample)
        parts += shared.values()
    return parts


def needs_forward(sample: Sample, config: TrainConfig) -> bool:
    """Whether a sample's tokens carry a gradient; one without an advantage counts in the mean alone."""
    return bool(sample.advantage or config.entropy_bonus or (config.kl and config.kl_in == "loss"))


def weigh(parts: Sequence[Part], objective: Objective) -> None:
    """Sets what a token of each sample weighs in the mean over `parts`, one update."""
    weights = sample_weights([[len(sample.completion_T) for sample in part] for part in parts],
                             [[sample.limit for sample in part] for part in parts], objective.average)
    for part, values in zip(parts, weights, strict=True):
        for sample, weight in zip(part, values, strict=True):
            sample.weight = weight


def old_logprobs(sample: Sample) -> Tensor:
    """What the ratio of a sample is taken to, `[T]`."""
    return torch.tensor(sample.logprobs_T) if sample.old_T is None else sample.old_T


def correction(sample: Sample) -> Tensor:
    """The importance weights of a sample, `[T]`; 1 where nothing is corrected."""
    return torch.ones(len(sample.completion_T)) if sample.correction_T is None else sample.correction_T
