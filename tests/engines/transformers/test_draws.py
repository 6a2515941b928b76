"""Tokens are drawn from the distribution they say they are drawn from."""

import pytest
import torch

from sparkcli.engines.seeds import stream_key
from sparkcli.engines.transformers.draws import draw, truncated, uniforms

LOGITS_V = torch.tensor([0.0, 1.0, 2.0, -1.0, 0.5, -torch.inf])


def test_uniforms_are_uniform_within_and_across_streams() -> None:
    keys_B = torch.tensor([stream_key(0, "id", sample) for sample in range(400)])
    table = torch.stack([uniforms(keys_B, torch.tensor(step)) for step in range(400)])
    assert table.min() >= 0 and table.max() < 1
    for means in (table.mean(0), table.mean(1)):
        assert means.sub(0.5).abs().max() < 5 * (1 / 12) ** 0.5 / 400**0.5
    counts = torch.histc(table, bins=100, min=0, max=1)
    assert ((counts - 1600) ** 2 / 1600).sum() < 160  # chi square with 99 degrees of freedom
    assert torch.corrcoef(table)[0, 1:].abs().max() < 0.25


def test_the_stream_of_a_sample_never_changes() -> None:
    """The key is a promise to later versions; the numbers are the published ones of SplitMix64 for seed 1234567."""
    assert stream_key(0, "id", 0) == 37457361026779886
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    for step, number in enumerate(published):
        assert uniforms(torch.tensor([1234567]), torch.tensor(step)).item() == (number >> 41) / 2**23


@pytest.mark.parametrize(("temperature", "top_k", "top_p"), [
    (1.0, 0, 1.0), (0.7, 0, 1.0), (1.5, 3, 1.0), (1.0, 0, 0.8)])
def test_frequencies_and_log_probs_are_the_distributions(temperature: float, top_k: int, top_p: float) -> None:
    draws = 20_000
    expected_V = truncated((LOGITS_V / temperature)[None], top_k, top_p)[0].softmax(0)
    u_B = (torch.arange(draws) + 0.5) / draws
    tokens_B, logprobs_B = draw(LOGITS_V.expand(draws, -1), u_B, temperature, top_k, top_p)
    frequencies_V = torch.bincount(tokens_B, minlength=len(LOGITS_V)) / draws
    torch.testing.assert_close(frequencies_V, expected_V, rtol=0, atol=2e-4)
    torch.testing.assert_close(logprobs_B, expected_V.log()[tokens_B])


def test_an_impossible_token_is_never_drawn() -> None:
    edges_B = torch.tensor([0.0, 1 - 2.0**-23])
    tokens_B, _ = draw(torch.tensor([-torch.inf, 0.0, 0.0, -torch.inf]).expand(2, -1), edges_B, 1.0, 0, 1.0)
    assert tokens_B.tolist() == [1, 2]


@pytest.mark.parametrize("top_p", [1.0, 0.95])
def test_a_large_vocabulary_is_drawn_from_as_a_running_sum_over_all_of_it_would(top_p: float) -> None:
    logits_BV = 3 * torch.randn(64, 5000, generator=torch.Generator().manual_seed(0))
    logits_BV[:, ::7] = -torch.inf  # first of a block, too
    u_B = torch.linspace(0, 1 - 2.0**-23, 64)
    tokens_B, logprobs_B = draw(logits_BV, u_B, 0.7, 0, top_p)
    expected_BV = truncated(logits_BV / 0.7, 0, top_p).double().log_softmax(1)
    torch.testing.assert_close(logprobs_B.double(), expected_BV.gather(1, tokens_B[:, None])[:, 0], rtol=0, atol=1e-6)
    ends_BV = expected_BV.exp().cumsum(1)
    before_B, after_B = (ends_BV.gather(1, place_B[:, None])[:, 0] for place_B in (tokens_B - 1, tokens_B))
    assert (u_B > before_B - 1e-6).all() and (u_B < after_B + 1e-6).all()


@pytest.mark.parametrize("top_p", [0.3, 0.9, 0.9999])
def test_a_nucleus_is_the_fewest_tokens_that_have_the_mass(top_p: float) -> None:
    logits_BV = torch.randn(16, 5000, generator=torch.Generator().manual_seed(1)) * torch.linspace(0.1, 5, 16)[:, None]
    kept_BV = truncated(logits_BV, 0, top_p).isfinite()
    probs_BV = logits_BV.double().softmax(1)
    mass_B = (probs_BV * kept_BV).sum(1)
    rarest_B = probs_BV.masked_fill(~kept_BV, 2).amin(1)
    assert (mass_B > top_p - 1e-6).all() and (mass_B - rarest_B < top_p + 1e-6).all()
    assert (rarest_B > (probs_BV * ~kept_BV).amax(1)).all()


def test_logits_that_are_no_numbers_draw_a_log_prob_that_is_none() -> None:
    logits_BV = torch.tensor([[0.0, torch.nan], [torch.inf, 0.0]])
    tokens_B, logprobs_B = draw(logits_BV, torch.tensor([0.5, 0.5]), 1.0, 0, 1.0)
    assert ((tokens_B >= 0) & (tokens_B < 2)).all() and logprobs_B.isnan().all()


def test_greedy_records_the_models_own_log_prob() -> None:
    tokens_B, logprobs_B = draw(LOGITS_V[None], torch.tensor([0.1]), 0.0, 0, 1.0)
    assert tokens_B.tolist() == [2]
    torch.testing.assert_close(logprobs_B, LOGITS_V.log_softmax(0)[[2]])


@pytest.mark.parametrize(("top_k", "top_p", "kept"), [
    (0, 1.0, [0, 1, 2, 3, 4]),
    (2, 1.0, [1, 2]),
    (100, 1.0, [0, 1, 2, 3, 4]),
    (0, 0.5, [2]),  # the most likely has 0.54 of the mass
    (0, 0.6, [1, 2]),
    (0, 0.0, [2]),
    (2, 0.7, [2]),  # of the two that are left it has 0.73
])
def test_what_is_kept(top_k: int, top_p: float, kept: list[int]) -> None:
    assert truncated(LOGITS_V[None], top_k, top_p)[0].isfinite().nonzero()[:, 0].tolist() == kept
