"""How far a sampler is from the policy that trains on its completions: importance weights, and a report of it.

The ratio of a token is `parent / recorded`: its probability under the policy that is updated, as the trainer computes
it, over the one that its sampler recorded. With the same weights, precision and temperature on both sides it is 1. An
engine with other kernels or another precision, top-p below 1, or rollouts of an older policy move it away from 1, and
a gradient that takes the recorded tokens for its own is then biased (Yao et al. 2025, "Your efficient RL framework
secretly brings you off-policy RL training").

Weights by the ratio undo the bias, and cut at a cap their variance stays bounded. *Truncate*: min(ratio, cap), the
truncated importance sampling of Yao et al. and of V-trace's ρ (IMPALA, Espeholt et al. 2018, arXiv 1802.01561).
*Mask*: the ratio, and 0 above the cap (IcePop, Ling Team 2025, arXiv 2510.18855; it has a lower bound as well, which is
left out here: a small ratio does no harm). The clipped ratio is then taken to the parent and the weight stands before
it, as in decoupled PPO (Hilton et al. 2021, arXiv 2110.00641). A sequence's ratio is the product over its tokens; its
noise grows with the length. It is summed as a logarithm and never overflows.

Axes: T tokens of one sample, N tokens of many in a row.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from sparkcli.training.samples import Sample

QUANTILES = {"min": 0.0, "p0.1": 0.001, "p1": 0.01, "median": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
WORST = 5
"""Samples that a report names."""
FLOAT_NOISE = 1e-3
"""Float32 forward passes of the same weights agree within it."""
NOTABLE_KL, NOTABLE_TREND, NOTABLE_SHARE = 1e-4, 0.25, 0.1
"""From where on a hint is given. A bfloat16 sampler of a float32 policy is at a KL of 1e-5 and a trend of 0.01, a
temperature that is off by a tenth at 3e-4 and 0.5 (the built-in model)."""


def correction_weights(parent_T: Tensor, recorded_T: Tensor, kind: Literal["truncate", "mask"],
                       level: Literal["token", "sequence"], cap: float) -> Tensor:
    """Importance weights `[T]` (float32) of a completion's tokens; at sequence level all are the same.

    Args:
        parent_T: log-probs under the policy that is updated, before the update.
        recorded_T: log-probs as the sampler recorded them, at the same temperature.
        cap: largest weight, of a token's ratio or of the completion's.
    """
    log_T = log_ratio(parent_T, recorded_T)
    if level == "sequence":
        log_T = log_T.sum().expand_as(log_T)
    weights_T = log_T.clamp(max=math.log(cap)).exp()
    if kind == "mask":
        weights_T = weights_T.masked_fill(log_T > math.log(cap), 0.0)
    return weights_T.float()


def log_ratio(parent_T: Tensor, recorded_T: Tensor) -> Tensor:
    """`log parent − log recorded` of each token, in float64."""
    return parent_T.double() - recorded_T.double()


def probe(samples: Sequence[Sample], parents: Sequence[Tensor], *, clip: float, clip_high: float,
          cap: float) -> dict[str, Any]:
    """What there is to know of a mismatch before training on it, as JSON values.

    Args:
        samples: those without a token are left out.
        parents: for each sample its tokens' log-probs `[T]` under the policy that would be updated, on the CPU, finite.
        clip: a ratio below 1 − clip, or above 1 + clip_high, is outside.
        cap: a token's or a sequence's ratio above it is what a correction would cut.

    Returns:
        What `figures` says of all samples; the same under `by_policy` (`fresh`, `stale`) and `by_task`; and the `worst`
        samples by their largest |log ratio|. No figures where there is no token.
    """
    pairs = [pair for pair in zip(samples, parents, strict=True) if pair[0].logprobs_T]
    samples = [sample for sample, _ in pairs]
    logs = [log_ratio(parent_T, torch.tensor(sample.logprobs_T, dtype=torch.float64)) for sample, parent_T in pairs]

    def part(chosen: Sequence[bool]) -> dict[str, Any]:
        taken = [i for i, is_chosen in enumerate(chosen) if is_chosen]
        recorded = [samples[i].logprobs_T for i in taken]
        return figures([logs[i] for i in taken], recorded, clip=clip, clip_high=clip_high, cap=cap)

    policies = {"fresh": [not s.stale for s in samples], "stale": [s.stale for s in samples]}
    return {**part([True] * len(samples)),
            "by_policy": {name: part(chosen) for name, chosen in policies.items() if any(chosen)},
            "by_task": {task: part([s.task == task for s in samples]) for task in sorted({s.task for s in samples})},
            "worst": worst(samples, logs)}


def figures(logs: Sequence[Tensor], recorded: Sequence[Sequence[float]], *, clip: float, clip_high: float,
            cap: float) -> dict[str, Any]:
    """The mismatch of some samples, given their log ratios and recorded log-probs; a value beyond float64 is null.

    - `ratio`: mean and quantiles over tokens. The mean estimates 1 where the sampler could have drawn every token, and
      the probability mass that it kept where it drew from a part of the vocabulary.
    - `kl`: of the sampler to the parent, by −log ratio (k1) and by ratio − 1 − log ratio (k3), means over tokens.
    - `trend`: correlation of a token's log ratio with how rare it was (−log-prob). Noise has none; a temperature that
      is not the recorded one has: above 0 the sampler's was lower. Null where nothing varies.
    - `outside_clip`: share of tokens. `above_cap`: shares of tokens and of completions.
    """
    if not logs:
        return {"samples": 0, "tokens": 0}
    log_N, sums_B = torch.cat(list(logs)), torch.stack([log_T.sum() for log_T in logs])
    rarity_N = -torch.tensor([value for values in recorded for value in values], dtype=torch.float64)
    ratio_N = log_N.exp()
    sorted_N = ratio_N.sort().values
    last = len(sorted_N) - 1
    return {"samples": len(logs), "tokens": len(log_N),
            "ratio": {"mean": number(ratio_N.mean()),
                      **{name: number(sorted_N[round(share * last)]) for name, share in QUANTILES.items()}},
            "kl": {"k1": number(-log_N.mean()), "k3": number((log_N.expm1() - log_N).mean())},
            "trend": correlation(log_N, rarity_N),
            "outside_clip": number(((ratio_N < 1 - clip) | (ratio_N > 1 + clip_high)).double().mean()),
            "above_cap": {"token": number((log_N > math.log(cap)).double().mean()),
                          "sequence": number((sums_B > math.log(cap)).double().mean())}}


def hints(report: dict[str, Any]) -> list[str]:
    """What a report of `probe` suggests, a sentence each; none where the sampler and the policy agree."""
    if not report["tokens"]:
        return []
    found = []
    policies = report["by_policy"]
    if "stale" in policies:
        found.append(f"{policies['stale']['samples']} of {report['samples']} samples are of another policy; training "
                     "on them needs --allow-stale")
    if "fresh" in policies:
        found += of_tokens(policies["fresh"])
    return found + of_sequences(report)


def of_tokens(part: dict[str, Any]) -> list[str]:
    """Why the ratios of one policy's own tokens are not 1, by what each cause leaves behind."""
    mean, trend = part["ratio"]["mean"], part["trend"] or 0.0
    if part["kl"]["k3"] is not None and part["kl"]["k3"] < NOTABLE_KL:
        return []
    if mean is not None and mean < 1 and part["ratio"]["max"] < 1 + FLOAT_NOISE:
        return [f"no ratio is above 1, and {mean:.3f} is their mean: log-probs normed over the share of the vocabulary "
                "that top-p, top-k or min-p kept; sample with top-p 1 and top-k 0"]
    if abs(trend) > NOTABLE_TREND:
        side = "lower" if trend > 0 else "higher"
        return [f"the rarer a token, the {'larger' if trend > 0 else 'smaller'} its ratio: the temperature behind the "
                f"log-probs was {side} than the recorded one; log-probs taken before the temperature look so too"]
    return ["the ratios scatter without a trend: other weights or a coarser precision in the sampler; correct with "
            "--correction truncate"]


def of_sequences(part: dict[str, Any]) -> list[str]:
    """Whether whole completions would be cut because ordinary noise adds up over their tokens."""
    above = part["above_cap"]
    if above["sequence"] > NOTABLE_SHARE and above["token"] < NOTABLE_SHARE / 10:
        return [f"{above['sequence']:.0%} of the completions, but {above['token']:.2%} of the tokens are above the "
                "cap: noise adds up over a completion; use --correction-level token or a larger --correction-cap"]
    return []


def correlation(first_N: Tensor, second_N: Tensor) -> float | None:
    """Pearson's; None where one of the two does not vary by more than float32 can resolve."""
    if len(first_N) < 2 or min(float(first_N.std()), float(second_N.std())) < 1e-6:
        return None
    return number(torch.corrcoef(torch.stack([first_N, second_N]))[0, 1])


def worst(samples: Sequence[Sample], logs: Sequence[Tensor]) -> list[dict[str, Any]]:
    """The samples with the largest |log ratio| of a token: which token, its log ratio, and the sum over all tokens."""
    order = sorted(range(len(samples)), key=lambda i: -float(logs[i].abs().max()))[:WORST]
    places = [int(logs[i].abs().argmax()) for i in order]
    return [{"id": samples[i].id, "sample": samples[i].number, "task": samples[i].task, "stale": samples[i].stale,
             "tokens": len(logs[i]), "token": place, "token_log_ratio": float(logs[i][place]),
             "sequence_log_ratio": float(logs[i].sum())} for i, place in zip(order, places, strict=True)]


def number(value: Tensor) -> float | None:
    """A scalar as JSON can hold it."""
    return float(value) if value.isfinite() else None
