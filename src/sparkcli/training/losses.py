"""The GRPO objective on a block of completions. Pure tensor functions.

Axes: B completions, T tokens of the longest one. Every function returns *sums* over tokens: the trainer divides by the
number of tokens of the whole mini-batch, so that the gradient is the mini-batch's token mean however it is cut into
micro-batches. The published runs average over each micro-batch of 8 samples and then over micro-batches, which weighs a
token by the length of its neighbours; here the token budget cannot change the result. The KL is a plain loss term, as
published; TRL multiplies it by the ratio unless told otherwise (`use_bias_correction_kl`).

Sources: PPO's clipped objective, Schulman et al. 2017 (arXiv 1707.06347) eq. 7; GRPO, Shao et al. 2024
(arXiv 2402.03300) eq. 3; the k3 estimator, Schulman 2020 (joschu.net/blog/kl-approx.html); token-level averaging,
Yu et al. 2025 (DAPO, arXiv 2503.14476) eq. 12.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Loss:
    """Sums over a block's tokens, each a scalar. Only `total` carries a gradient."""

    total: Tensor
    policy: Tensor
    kl: Tensor
    clipped: Tensor
    ratio: Tensor
    ratio_max: Tensor


def grpo_loss(logprobs_BT: Tensor, old_logprobs_BT: Tensor, ref_logprobs_BT: Tensor | None, advantages_B: Tensor,
              mask_BT: Tensor, clip: float, kl: float) -> Loss:
    """Clipped policy gradient plus KL to the reference: sum over tokens of `surrogate + kl * k3`.

    Args:
        logprobs_BT: of the emitted tokens under the policy that is trained, at the sampler's temperature.
        old_logprobs_BT: of the same tokens under the policy that sampled them, as it recorded them.
        ref_logprobs_BT: of the same tokens under the frozen reference; None where `kl` is 0.
        mask_BT: true at emitted tokens, false at padding; what stands at padding has no influence.
        clip: half-width of the trust region of the ratio.
        kl: weight of the KL term.
    """
    ratio_BT = log_ratio(logprobs_BT, old_logprobs_BT, mask_BT).exp()
    advantages_B1 = advantages_B[:, None]
    policy = masked_sum(clipped_surrogate(ratio_BT, advantages_B1, clip), mask_BT)
    kl_sum = torch.zeros_like(policy)
    if ref_logprobs_BT is not None:
        kl_sum = masked_sum(k3(log_ratio(ref_logprobs_BT, logprobs_BT, mask_BT)), mask_BT)
    ratio_BT = ratio_BT.detach()
    clipped_BT = torch.where(advantages_B1 > 0, ratio_BT > 1 + clip, (ratio_BT < 1 - clip) & (advantages_B1 < 0))
    return Loss(total=policy + kl * kl_sum, policy=policy.detach(), kl=kl_sum.detach(),
                clipped=(clipped_BT & mask_BT).sum(), ratio=masked_sum(ratio_BT, mask_BT),
                ratio_max=ratio_BT.masked_fill(~mask_BT, 0.0).max())


def clipped_surrogate(ratio_BT: Tensor, advantages_B1: Tensor, clip: float) -> Tensor:
    """`-min(r A, clamp(r, 1 - clip, 1 + clip) A)` per token: no gain from moving the ratio past the clip."""
    return -torch.minimum(ratio_BT * advantages_B1, ratio_BT.clamp(1 - clip, 1 + clip) * advantages_B1)


def k3(log_ratio_BT: Tensor) -> Tensor:
    """`exp(d) - d - 1` with `d = log p_ref - log p`: unbiased for KL(p || p_ref) on tokens of p, and never negative."""
    return torch.expm1(log_ratio_BT) - log_ratio_BT


def log_ratio(logprobs_BT: Tensor, base_logprobs_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """`log p - log p_base` at emitted tokens, 0 at padding, so that nothing non-finite can leak out of the padding."""
    return (logprobs_BT - base_logprobs_BT).masked_fill(~mask_BT, 0.0)


def masked_sum(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Sum over the emitted tokens of a block."""
    return values_BT.masked_fill(~mask_BT, 0.0).sum()
