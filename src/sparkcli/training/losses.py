"""The loss of a block of completions. Pure tensor functions, one per formula.

Axes: B completions, T tokens of the longest one. With c the importance weight of the sampler's mismatch, w what a token
of completion i weighs (`method/objectives.py`) and H the entropy, a block adds to its update

    Σ_i w_i Σ_t (c_it · surrogate_it + kl · KL_it) − entropy_weight · Σ_it H_it

so blocks simply add up. The published SPARK runs average over each micro-batch of 8 samples and then over
micro-batches, which weighs a token by the length of its neighbours; here the token budget cannot change the result.
The KL is a plain term, as published; TRL multiplies it by the ratio unless told otherwise (`use_bias_correction_kl`).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sparkcli.method.objectives import Objective

_EXPONENT = 80.0
"""Largest logarithm of a ratio that is reported: float32 ends at e^88."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Scalars of a block, on its device. Only `total` carries a gradient.

    `policy` and `kl` are sums weighted as in `total` (`kl` before its coefficient). The others count each token once:
    `clipped_low` and `clipped_high`, tokens whose gradient the clip changes; `entropy`; and `ratio` (of sequence
    surrogates the completion's ratio at each of its tokens), of which `ratio_max` is the largest.
    """

    total: Tensor
    policy: Tensor
    kl: Tensor
    entropy: Tensor
    clipped_low: Tensor
    clipped_high: Tensor
    ratio: Tensor
    ratio_max: Tensor


def policy_loss(logprobs_BT: Tensor, old_logprobs_BT: Tensor, reference_logprobs_BT: Tensor | None,
                entropy_BT: Tensor | None, correction_BT: Tensor | None, advantages_B: Tensor, weights_B: Tensor,
                mask_BT: Tensor, *, objective: Objective, kl: float, kl_estimator: str, entropy_weight: float) -> Loss:
    """A block's share of the loss of its update. What stands at padding, NaN too, has no influence.

    Args:
        logprobs_BT: of the emitted tokens under the policy that is trained, at the sampler's temperature.
        old_logprobs_BT: of the same tokens under the policy that the ratio is taken to.
        reference_logprobs_BT: of the same tokens under the frozen reference; None: no KL.
        entropy_BT: of the distributions they were drawn from; None: not looked at.
        correction_BT: importance weights of the sampler's mismatch, constants; None: 1.
        advantages_B: of the completions.
        weights_B: what one token of each completion weighs.
        mask_BT: true at emitted tokens, false at padding.
        objective: surrogate and clip; its other parts are in `advantages_B` and `weights_B` already.
        kl: coefficient of the KL.
        kl_estimator: "k1", "k2" or "k3".
        entropy_weight: what one token's entropy weighs.
    """
    logprobs_BT = at_tokens(logprobs_BT, mask_BT)
    log_ratio_BT = logprobs_BT - at_tokens(old_logprobs_BT, mask_BT)
    if objective.surrogate in _OF_SEQUENCE:
        log_ratio_BT = _OF_SEQUENCE[objective.surrogate](log_ratio_BT, mask_BT)
    surrogate_BT = surrogate(log_ratio_BT, logprobs_BT, advantages_B[:, None], objective)
    if correction_BT is not None:
        surrogate_BT = surrogate_BT * at_tokens(correction_BT, mask_BT)
    weights_BT = weights_B[:, None] * mask_BT
    total = policy = (weights_BT * surrogate_BT).sum()
    kl_sum = entropy = torch.zeros_like(policy)
    if reference_logprobs_BT is not None:
        kl_BT = kl_of(kl_estimator, logprobs_BT, at_tokens(reference_logprobs_BT, mask_BT))
        kl_sum = (weights_BT * kl_BT).sum()
        total = total + kl * kl_sum
    if entropy_BT is not None:
        entropy = at_tokens(entropy_BT, mask_BT).sum()
        total = total - entropy_weight * entropy
    return Loss(total=total, policy=policy.detach(), kl=kl_sum.detach(), entropy=entropy.detach(),
                **_ratios(log_ratio_BT.detach(), advantages_B[:, None], mask_BT, objective))


def surrogate(log_ratio_BT: Tensor, logprobs_BT: Tensor, advantages_B1: Tensor, objective: Objective) -> Tensor:
    """What is minimised in place of the negative expected reward, per token; [B, 1] of one ratio per completion."""
    if objective.surrogate == "cispo":
        return cispo(log_ratio_BT, logprobs_BT, advantages_B1, objective)
    return clipped(log_ratio_BT, advantages_B1, objective)


def clipped(log_ratio_BT: Tensor, advantages_B1: Tensor, objective: Objective) -> Tensor:
    """`-min(r A, clamp(r, 1 − clip, 1 + clip_high) A)`: no gain from moving the ratio r past the clip.

    Which is `-r A` with r cut above where A is positive, and below where it is negative. Cutting the logarithm instead
    keeps an r too large for its type from turning a gradient that the clip stops into NaN.

    Source: PPO, arXiv 1707.06347, eq. 7; with two widths DAPO, arXiv 2503.14476, eq. 10.
    """
    low, high = _log_bounds(objective)
    bounded_BT = torch.where(advantages_B1 >= 0, log_ratio_BT.clamp(max=high), log_ratio_BT.clamp(min=low))
    return -bounded_BT.exp() * advantages_B1


def cispo(log_ratio_BT: Tensor, logprobs_BT: Tensor, advantages_B1: Tensor, objective: Objective) -> Tensor:
    """`-sg(clamp(r, 1 − clip, 1 + clip_high)) A log p`, sg the stop of the gradient: every token keeps one.

    Source: CISPO, MiniMax-M1, arXiv 2506.13585, eq. 4 and 5.
    """
    low, high = _log_bounds(objective)
    return -log_ratio_BT.detach().clamp(low, high).exp() * advantages_B1 * logprobs_BT


def mean_log_ratio(log_ratio_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """`Σ_t log r_t / |o|`, [B, 1]: of a completion's probability ratio, normalised by its length.

    Every token of the completion shares the ratio and its gradient; so the mean of its tokens' losses is its own.

    Source: GSPO, arXiv 2507.18071, eq. 7.
    """
    return total_log_ratio(log_ratio_BT, mask_BT) / mask_BT.sum(1, keepdim=True).clamp(min=1)


def total_log_ratio(log_ratio_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """`Σ_t log r_t`, [B, 1]: of a completion's probability ratio, the completion being one action.

    Source: RLOO, arXiv 2402.14740. At r = 1 the gradient of `r A` is that of REINFORCE, `A ∇ log p(o)`.
    """
    return at_tokens(log_ratio_BT, mask_BT).sum(1, keepdim=True)


_OF_SEQUENCE = {"clip-sequence": mean_log_ratio, "clip-product": total_log_ratio}


def kl_of(kind: str, logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """An estimate per token of KL(p || p_ref), from log-probs of tokens of p; any shape.

    Source: Schulman 2020, joschu.net/blog/kl-approx.html.
    """
    return _ESTIMATORS[kind](logprobs - reference_logprobs)


def k1(log_ratio: Tensor) -> Tensor:
    """`d = log p − log p_ref`: unbiased, of either sign. As a term of the loss its gradient is 0 on average."""
    return log_ratio


def k2(log_ratio: Tensor) -> Tensor:
    """`½ d²`: biased, never negative; its gradient is that of the KL on average."""
    return 0.5 * log_ratio.square()


def k3(log_ratio: Tensor) -> Tensor:
    """`exp(−d) + d − 1`: unbiased and never negative; as a term of the loss in GRPO, arXiv 2402.03300, eq. 4."""
    return torch.expm1(-log_ratio) + log_ratio


_ESTIMATORS = {"k1": k1, "k2": k2, "k3": k3}


def at_tokens(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """The values at emitted tokens, 0 at padding, so that nothing non-finite can leak out of the padding."""
    return values_BT.masked_fill(~mask_BT, 0.0)


def _ratios(log_ratio_BT: Tensor, advantages_B1: Tensor, mask_BT: Tensor, objective: Objective) -> dict[str, Tensor]:
    """What there is to see of the ratio and its clip. A log ratio of [B, 1] counts at each token of its completion."""
    low, high = _log_bounds(objective)
    below_BT, above_BT = log_ratio_BT < low, log_ratio_BT > high
    if objective.surrogate != "cispo":  # which cuts the weight of every token, whatever its advantage's sign
        below_BT, above_BT = below_BT & (advantages_B1 < 0), above_BT & (advantages_B1 > 0)
    ratio_BT = at_tokens(log_ratio_BT.clamp(max=_EXPONENT).exp().expand_as(mask_BT), mask_BT)
    return {"clipped_low": (below_BT & mask_BT).sum(), "clipped_high": (above_BT & mask_BT).sum(),
            "ratio": ratio_BT.sum(), "ratio_max": ratio_BT.max()}


def _log_bounds(objective: Objective) -> tuple[float, float]:
    """Logarithms of the ratio's bounds; a clip of 1 or more is no lower bound."""
    low = math.log1p(-objective.clip) if objective.clip < 1 else -math.inf
    return low, math.log1p(objective.clip_high)
