"""Random streams and the distribution they draw from.

Each sample has a random stream of its own: uniform number t of a stream is a hash of (key, t), the key a hash of
(seed, prompt id, sample number). So a completion depends neither on the batch it is sampled in nor on its company, but
for rounding: another batch shape moves logits by about 1e-6, and a draw that falls so close to the border between two
tokens may go to the other.
"""

import torch
from torch import Tensor

_GOLDEN, _MIX1, _MIX2 = (c - (1 << 64) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def uniforms(keys_B: Tensor, steps_B: Tensor) -> Tensor:
    """Uniform numbers in [0, 1), float32 `[B]`: of each stream the one with that number.

    SplitMix64 (Steele, Lea, Flood 2014) with the counter in place of its state. 23 bits are kept, so that a number
    times a float32 total always stays below that total.
    """
    z_B = keys_B + (steps_B + 1) * _GOLDEN
    z_B = (z_B ^ _shifted(z_B, 30)) * _MIX1
    z_B = (z_B ^ _shifted(z_B, 27)) * _MIX2
    z_B = z_B ^ _shifted(z_B, 31)
    return _shifted(z_B, 41).float() * 2.0**-23


def draw(logits_BV: Tensor, uniforms_B: Tensor, temperature: float, top_k: int, top_p: float) -> tuple[Tensor, Tensor]:
    """One token per row by inverse CDF, and its log-probability under the distribution it was drawn from.

    Temperature 0 takes the most likely token and records its log-probability at temperature 1, the distribution that
    the model itself has.

    Returns:
        `(tokens_B, logprobs_B)`, int64 and float32.
    """
    if temperature == 0:
        tokens_B = logits_BV.argmax(1)
        return tokens_B, _gather(logits_BV, tokens_B) - logits_BV.logsumexp(1)
    scaled_BV = logits_BV if temperature == 1 else logits_BV / temperature
    scaled_BV = truncated(scaled_BV, top_k, top_p)
    norm_B = scaled_BV.logsumexp(1)
    cdf_BV = (scaled_BV - norm_B[:, None]).exp_().cumsum(1)
    target_B = uniforms_B * cdf_BV[:, -1]
    tokens_B = torch.searchsorted(cdf_BV, target_B[:, None], right=True)[:, 0]
    tokens_B = tokens_B.clamp(max=logits_BV.shape[1] - 1)  # NaN logits point past the end; their log-prob stays NaN
    return tokens_B, _gather(scaled_BV, tokens_B) - norm_B


def truncated(logits_BV: Tensor, top_k: int, top_p: float) -> Tensor:
    """Logits with −inf outside the `top_k` most likely tokens (0: all), then outside the nucleus of mass `top_p`.

    The most likely token always stays; of equal tokens at the k-th place all stay.
    """
    if 0 < top_k < logits_BV.shape[1]:
        smallest_B1 = logits_BV.topk(top_k, dim=1).values[:, -1:]
        logits_BV = logits_BV.masked_fill(logits_BV < smallest_B1, -torch.inf)
    if top_p < 1:
        sorted_BV, order_BV = logits_BV.sort(dim=1, descending=True, stable=True)
        probs_BV = sorted_BV.softmax(1)
        outside_BV = probs_BV.cumsum(1) - probs_BV >= top_p
        outside_BV[:, 0] = False
        logits_BV = logits_BV.masked_fill(torch.zeros_like(outside_BV).scatter(1, order_BV, outside_BV), -torch.inf)
    return logits_BV


def _gather(values_BV: Tensor, tokens_B: Tensor) -> Tensor:
    return values_BV.gather(1, tokens_B[:, None])[:, 0]


def _shifted(z_B: Tensor, bits: int) -> Tensor:
    """Logical right shift of 64-bit integers, which torch has only signed."""
    return (z_B >> bits) & ((1 << (64 - bits)) - 1)

