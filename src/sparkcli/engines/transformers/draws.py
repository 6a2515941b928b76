"""Random streams and the distribution they draw from.

Each sample has a random stream of its own: uniform number t of a stream is a hash of (key, t), the key a hash of
(seed, prompt id, sample number). So a completion depends neither on the batch it is sampled in nor on its company, but
for rounding: another batch shape moves logits by about 1e-6, and a draw that falls so close to the border between two
tokens may go to the other.
"""

import torch
from torch import Tensor

BLOCK = 256
"""Tokens whose weights are summed before any is looked at: a running sum over a whole vocabulary is the slowest there
is, and a draw needs one over the blocks and one within a single block."""

NUCLEUS = 256
"""Most likely tokens that are sorted at first."""

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
    logits_BV = logits_BV if temperature == 1 else logits_BV / temperature
    weights_BNW = _weights(truncated(logits_BV, top_k, top_p))
    ends_BN = weights_BNW.sum(2).cumsum(1)
    target_B = uniforms_B * ends_BN[:, -1]
    block_B = _first_above(ends_BN, target_B)
    within_BW = weights_BNW[torch.arange(len(block_B), device=block_B.device), block_B]
    before_B = _gather(ends_BN, block_B) - within_BW.sum(1)
    place_B = _first_above(within_BW.cumsum(1), (target_B - before_B).clamp(min=0))
    tokens_B = (block_B * BLOCK + place_B).clamp(max=logits_BV.shape[1] - 1)
    return tokens_B, (_gather(within_BW, place_B) / ends_BN[:, -1]).log()


def truncated(logits_BV: Tensor, top_k: int, top_p: float) -> Tensor:
    """Logits with −inf outside the `top_k` most likely tokens (0: all), then outside the nucleus of mass `top_p`.

    The most likely token always stays; of equal tokens at the border all stay.
    """
    if 0 < top_k < logits_BV.shape[1]:
        smallest_B1 = logits_BV.topk(top_k, dim=1).values[:, -1:]
        logits_BV = logits_BV.masked_fill(logits_BV < smallest_B1, -torch.inf)
    if top_p < 1:
        logits_BV = logits_BV.masked_fill(logits_BV < _smallest_of_nucleus(logits_BV, top_p), -torch.inf)
    return logits_BV


def _smallest_of_nucleus(logits_BV: Tensor, top_p: float) -> Tensor:
    """`[B, 1]`. Sorts as many of the most likely tokens as it takes: a sort of the vocabulary costs a forward pass."""
    vocabulary, norm_B1 = logits_BV.shape[1], logits_BV.logsumexp(1, keepdim=True)
    count = min(NUCLEUS, vocabulary)
    while True:
        sorted_BK = logits_BV.topk(count, dim=1).values
        probs_BK = (sorted_BK - norm_B1).exp()
        mass_BK = probs_BK.cumsum(1)
        if count == vocabulary or bool((mass_BK[:, -1] >= top_p).all()):
            inside_B1 = (mass_BK - probs_BK < top_p).sum(1, keepdim=True)
            return sorted_BK.gather(1, (inside_B1 - 1).clamp(min=0))
        count = min(16 * count, vocabulary)


def _weights(logits_BV: Tensor) -> Tensor:
    """Probabilities but for a factor of each row, in blocks `[B, N, W]`; 0 after the last token."""
    rows, vocabulary = logits_BV.shape
    weights_BX = logits_BV.new_zeros(rows, -(-vocabulary // BLOCK) * BLOCK)
    weights_BV = weights_BX[:, :vocabulary]
    torch.sub(logits_BV, logits_BV.amax(1, keepdim=True), out=weights_BV)
    weights_BV.exp_()
    return weights_BX.unflatten(1, (-1, BLOCK))


def _first_above(ends_BN: Tensor, target_B: Tensor) -> Tensor:
    """Where a running sum first exceeds a row's target, or, where rounding has put that past the end, where it last
    grew; 0 in a row of NaN."""
    above_B = torch.searchsorted(ends_BN, target_B[:, None], right=True)[:, 0]
    last_B = torch.searchsorted(ends_BN, ends_BN[:, -1:].contiguous())[:, 0]
    return torch.minimum(above_B, last_B).clamp(max=ends_BN.shape[1] - 1)


def _gather(values_BV: Tensor, tokens_B: Tensor) -> Tensor:
    return values_BV.gather(1, tokens_B[:, None])[:, 0]


def _shifted(z_B: Tensor, bits: int) -> Tensor:
    """Logical right shift of 64-bit integers, which torch has only signed."""
    return (z_B >> bits) & ((1 << (64 - bits)) - 1)

