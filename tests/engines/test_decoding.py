"""A batch in flight: caches that grow, rows that leave, limits of their own."""

from pathlib import Path

import pytest
import torch
from tests.logprobs import naive_logprobs
from tests.models.tiny import load_tiny

from sparkcli.engines import cache
from sparkcli.engines.decoding import Request, Rules, decode
from sparkcli.engines.seeds import stream_key
from sparkcli.errors import SparkError
from sparkcli.models.policy import Policy

RULES = Rules(temperature=1.0, top_k=0, top_p=1.0, stop_ids=[258])


@pytest.fixture(scope="module")
def policy(model_folder: Path) -> Policy:
    return load_tiny(model_folder)


def request(prompt: list[int], rows: int, limit: int) -> Request:
    return Request(prompt, [stream_key(0, str(prompt), row) for row in range(rows)], limit)


def test_ragged_groups_with_limits_of_their_own_agree_with_the_forward(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "ROOM", 3)  # so that the caches grow several times
    requests = [request([1, 2, 3, 4, 5], 4, 40), request([9], 1, 7), request([30, 31], 6, 25)]
    decoded = decode(policy.network, requests, RULES)
    rows = iter(decoded)
    groups = [[next(rows) for _ in r.keys] for r in requests]
    assert len({len(row.token_ids) for row in decoded}) > 3
    for group, r in zip(groups, requests, strict=True):
        for row in group:
            assert len(row.token_ids) <= r.limit
            assert row.stopped == (row.token_ids[-1] == 258)
            assert row.stopped or len(row.token_ids) == r.limit
    with torch.no_grad():
        logprobs_BT, mask_BT = naive_logprobs(policy.model, [r.token_ids for r in requests],
                                              [[row.token_ids for row in group] for group in groups])
    recorded = torch.tensor([logprob for row in decoded for logprob in row.logprobs])
    torch.testing.assert_close(recorded, logprobs_BT[mask_BT], rtol=0, atol=1e-4)


def test_rows_that_leave_do_not_disturb_the_others(policy: Policy) -> None:
    together = decode(policy.network, [request([1, 2, 3], 8, 60)], RULES)
    rows = [Request([1, 2, 3], [stream_key(0, "[1, 2, 3]", row)], 60) for row in range(8)]
    alone = [decode(policy.network, [row], RULES)[0] for row in rows]
    assert [row.token_ids for row in alone] == [row.token_ids for row in together]


def test_greedy_is_what_generate_says(policy: Policy) -> None:
    prompt = [5, 6, 7, 8]
    row = decode(policy.network, [request(prompt, 1, 30)], Rules(0.0, 0, 1.0, [258]))[0]
    generated = policy.network.generate(input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, 4),
                                        max_new_tokens=30, do_sample=False)
    assert generated[0, 4:].tolist() == row.token_ids


def test_a_network_that_computes_no_numbers_is_said_so(model_folder: Path) -> None:
    broken = load_tiny(model_folder)
    with torch.no_grad():
        broken.network.get_output_embeddings().weight[7] = torch.nan
    for temperature in (0.0, 1.0):
        with pytest.raises(SparkError, match="not finite"):
            decode(broken.network, [request([1, 2], 2, 3)], Rules(temperature, 0, 1.0, [258]))


def test_adding_room_keeps_what_is_held() -> None:
    layer = cache.RoomyLayer(torch.arange(6.0).reshape(1, 1, 3, 2), torch.zeros(1, 1, 3, 2))
    for step in range(200):
        keys, _ = layer.update(torch.full((1, 1, 1, 2), float(step)), torch.zeros(1, 1, 1, 2))
    assert layer.get_seq_length() == keys.shape[2] == 203
    assert keys[0, 0, :3].flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert keys[0, 0, 3:, 0].tolist() == list(map(float, range(200)))
