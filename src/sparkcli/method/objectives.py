"""Objectives of the policy update by name: each a choice of four parts, and of how wide the ratio may swing.

    advantage   how much better than others a completion is                   method/advantages.py
    surrogate   what is differentiated in place of the expected reward         training/losses.py
    average     how the tokens of an update are weighed against each other     `sample_weights`
    groups      whether groups of equal rewards, which teach nothing, count in that average

Every average is a weighted sum over tokens, `Σ_i w_i Σ_t ℓ_it`. The weights follow from the lengths of an update's
completions alone, so neither the cut into forward passes nor the number of processes can change the gradient.

Where a preset leaves its paper is said beside it. None brings a KL term: that is a setting of its own.
"""

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sparkcli.config import TrainConfig
from sparkcli.errors import InputError

Surrogate = Literal["clip", "clip-sequence", "clip-product", "cispo"]
Advantage = Literal["group", "mean", "leave-one-out", "batch"]
Average = Literal["token", "group", "completion", "constant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One loss: the ratio is clipped to `[1 − clip, 1 + clip_high]`; `about` is its line in the help."""

    about: str
    advantage: Advantage = "group"
    surrogate: Surrogate = "clip"
    average: Average = "token"
    clip: float = 0.2
    clip_high: float = 0.2
    constant_groups: Literal["drop", "keep"] = "keep"


OBJECTIVES: Mapping[str, Objective] = types.MappingProxyType({
    # SPARK (arXiv 2509.22624) and its published settings, but for the mean, which is taken over the whole update.
    "spark": Objective(about="group norm, mean over tokens, equal groups left out",
                       constant_groups="drop"),
    # DeepSeekMath (arXiv 2402.03300) eq. 3: the mean of each completion, then of the completions.
    "grpo": Objective(about="group norm, mean over each completion, then over these",
                      average="completion"),
    # Understanding R1-Zero-like Training (arXiv 2503.20783) section 3.2: neither deviation nor length divides. The
    # sum is divided by the token limit, which is a constant, as in the authors' code.
    "dr-grpo": Objective(about="no deviation, and the token limit in place of the length",
                         advantage="mean", average="constant"),
    # Back to Basics (arXiv 2402.14740): the whole completion is one action. The paper samples anew for each
    # update; for several, its ratio is clipped as TRL's RLOOTrainer does. Its KL is in the reward
    # (--kl-in reward --kl-estimator k1).
    "rloo": Objective(about="reward less the others' mean, one ratio per completion",
                      advantage="leave-one-out", surrogate="clip-product", average="completion"),
    # REINFORCE++ (arXiv 2501.03262): PPO without a critic, normed over the global batch. The paper takes the KL of
    # the tokens still to come off each token's reward; here it is the completion's
    # (--kl-in reward --kl-estimator k1).
    "reinforce++": Objective(about="normed over all rewards of the call, mean over tokens",
                             advantage="batch"),
    # DAPO (arXiv 2503.14476) eq. 8 to 12: clip-higher, token mean, groups of equal rewards filtered out. Its length
    # penalty is a term of the reward (method/shaping.py), and a filtered group is not replaced here.
    "dapo": Objective(about="spark, clipped at 0.8 and 1.28", clip_high=0.28, constant_groups="drop"),
    # The loss that TRL names so, with one group as the local batch; not the Beta normalisation of arXiv 2506.02864.
    "bnpo": Objective(about="group norm, mean over a group's tokens, then over groups",
                      average="group"),
    # Group Sequence Policy Optimization (arXiv 2507.18071) eq. 5 and 7, clip of section 5.1.
    "gspo": Objective(about="grpo with a mean ratio per completion, clipped tightly",
                      surrogate="clip-sequence", average="completion", clip=3e-4, clip_high=4e-4),
    # MiniMax-M1 (arXiv 2506.13585) eq. 4 and 5, no bound below. The paper leaves the upper one open: 5 is from the
    # ScaleRL study (arXiv 2510.13786). Filtered as in DAPO, from which the paper takes it.
    "cispo": Objective(about="spark, but log-probs weighted by a ratio cut at 5",
                       surrogate="cispo", clip=1.0, clip_high=4.0, constant_groups="drop"),
})


def objective(config: TrainConfig) -> Objective:
    """The preset that `config.loss` names, with the parts that the configuration sets itself.

    A given `clip` holds upwards as well, unless `clip_high` is given too.

    >>> objective(TrainConfig(loss="dapo", average="constant")).clip_high
    0.28
    >>> objective(TrainConfig(loss="dapo", clip=0.1)).clip_high
    0.1
    """
    clip_high = config.clip if config.clip_high is None else config.clip_high
    given = {"advantage": config.advantage, "average": config.average, "clip": config.clip, "clip_high": clip_high,
             "constant_groups": config.constant_groups}
    changes = {name: value for name, value in given.items() if value is not None}
    return replace(OBJECTIVES[config.loss], **changes)  # type: ignore[arg-type]


Lengths = Sequence[Sequence[int]]
"""Tokens of each completion of an update, by group."""


def sample_weights(lengths: Lengths, limits: Sequence[Sequence[int | None]], average: Average) -> list[list[float]]:
    """What one token of each completion weighs in an update's loss.

    Args:
        lengths: tokens of each completion, by group (what an update holds of it).
        limits: most tokens that the sampler allowed each of them; only `constant` asks for it.
        average: the mean to take.

    Raises:
        InputError: `constant` without a limit.

    >>> sample_weights([[1, 1], [8]], [[8, 8], [8]], "token")
    [[0.1, 0.1], [0.1]]
    >>> sample_weights([[1, 1], [8]], [[8, 8], [8]], "group")
    [[0.25, 0.25], [0.0625]]
    """
    if average == "constant":
        return _over_limits(limits)
    return _AVERAGES[average](lengths)


def _over_tokens(lengths: Lengths) -> list[list[float]]:
    """`1 / Σ_j |o_j|`: every token of the update alike (DAPO, arXiv 2503.14476, eq. 8)."""
    tokens = sum(map(sum, lengths))
    return [[1 / tokens] * len(part) for part in lengths]


def _over_groups(lengths: Lengths) -> list[list[float]]:
    """`1 / (P · Σ_{j in group} |o_j|)`: each of P groups alike, and within it every token (TRL's `bnpo`)."""
    return [[1 / (len(lengths) * sum(part))] * len(part) for part in lengths]


def _over_completions(lengths: Lengths) -> list[list[float]]:
    """`1 / (n · |o_i|)`: each of n completions alike, and within it every token (GRPO, arXiv 2402.03300, eq. 3)."""
    n = sum(map(len, lengths))
    return [[1 / (n * length) for length in part] for part in lengths]


_AVERAGES: Mapping[str, Callable[[Lengths], list[list[float]]]] = types.MappingProxyType(
    {"token": _over_tokens, "group": _over_groups, "completion": _over_completions})


def _over_limits(limits: Sequence[Sequence[int | None]]) -> list[list[float]]:
    """`1 / (n · limit_i)`: every token alike, however long its completion is (Dr. GRPO, arXiv 2503.20783)."""
    n = sum(map(len, limits))
    return [[1 / (n * _known(limit)) for limit in part] for part in limits]


def _known(limit: int | None) -> int:
    if limit is None:
        raise InputError("sampling.max_tokens: expected in every rollout, as the mean is over it; try --average token")
    return limit
