"""Continuous batches: rows that leave, prompts that join, limits of their own."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.logprobs import naive_logprobs
from tests.models.tiny import byte_tokenizer, load_tiny, write_network
from transformers import DiffLlamaConfig, Qwen2Config, Qwen2ForCausalLM

from sparkcli.engines.seeds import stream_key
from sparkcli.engines.transformers import cache
from sparkcli.engines.transformers.attention import longest_shared
from sparkcli.engines.transformers.budget import room_within
from sparkcli.engines.transformers.cache import Room
from sparkcli.engines.transformers.decoding import decode
from sparkcli.engines.transformers.rows import Group, Row, Rules
from sparkcli.errors import SparkError, UsageError
from sparkcli.models.policy import Policy
from sparkcli.models.sight import text

RULES = Rules(temperature=1.0, top_k=0, top_p=1.0, stop_ids=frozenset([258]))
FREELY = 1 << 18


@pytest.fixture(scope="module")
def policy(model_folder: Path) -> Policy:
    return load_tiny(model_folder)


def group(prompt: list[int], rows: int, limit: int) -> Group:
    return Group(text(prompt), [Row(stream_key(0, str(prompt), row), limit) for row in range(rows)])


def decoded(policy: Policy, groups: Sequence[Group], rows: int, rules: Rules = RULES) -> list[Row]:
    decode(policy.network, groups, rules, room_within(groups, rows, FREELY))
    return [row for group in groups for row in group.rows]


def ragged() -> list[Group]:
    return [group([1, 2, 3, 4, 5], 4, 40), group([9], 1, 7), group([30, 31], 6, 25), group([7] * 20, 4, 30),
            group([8, 9], 2, 1), group([40], 6, 50)]


def assert_faithful(policy: Policy, groups: Sequence[Group], atol: float = 1e-4) -> None:
    """Recorded log-probs are those of a forward pass over each whole sequence."""
    with torch.no_grad():
        logprobs_BT, mask_BT = naive_logprobs(policy.model, [g.token_ids for g in groups],
                                              [[row.token_ids for row in g.rows] for g in groups])
    recorded = torch.tensor([logprob for g in groups for row in g.rows for logprob in row.logprobs])
    torch.testing.assert_close(recorded, logprobs_BT[mask_BT], rtol=0, atol=atol)


@pytest.mark.parametrize("rows", [6, 11, 64])
def test_ragged_groups_with_limits_of_their_own_agree_with_the_forward(
    policy: Policy, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "FIRST", 3)  # so that the room for completions grows several times
    groups = ragged()
    found = decoded(policy, groups, rows)
    assert len({len(row.token_ids) for row in found}) > 3
    for row in found:
        assert len(row.token_ids) <= row.limit
        assert row.stopped == (row.token_ids[-1] == 258)
        assert row.stopped or len(row.token_ids) == row.limit
    assert_faithful(policy, groups)


def test_rows_that_join_and_leave_do_not_disturb_the_others(policy: Policy) -> None:
    together = decoded(policy, ragged(), 64)
    joining = decoded(policy, ragged(), 6)
    alone = [row for g in ragged() for row in decoded(policy, [g], 64)]
    assert [r.token_ids for r in alone] == [r.token_ids for r in joining] == [r.token_ids for r in together]


def test_waiting_prompts_join_while_others_run(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows at once: the long one runs from the first step to the last, five short ones one after another."""
    groups = [group([1, 2], 1, 60), *(group([3, number], 1, 4) for number in range(5))]
    passes: list[int] = []
    forward = policy.network.base_model.forward
    monkeypatch.setattr(policy.network.base_model, "forward",
                        lambda **inputs: passes.append(inputs["input_ids"].shape[1]) or forward(**inputs))
    found = decoded(policy, groups, 2, Rules(1.0, 0, 1.0, frozenset()))
    assert [len(row.token_ids) for row in found] == [60, 4, 4, 4, 4, 4]
    assert len(passes) == 59 + 5  # a step for each token of the long one, and a prefill each time that some join


def test_prompts_run_in_pieces_that_fit(policy: Policy) -> None:
    whole, cut = ragged(), ragged()
    room = room_within(cut, 64, FREELY)
    decoded(policy, whole, 64)
    decode(policy.network, cut, RULES, Room(room.prompts, room.prompt_tokens, room.rows, room.tokens, prefill=5))
    assert [row.token_ids for g in cut for row in g.rows] == [row.token_ids for g in whole for row in g.rows]


def test_greedy_is_what_generate_says(policy: Policy) -> None:
    prompt = [5, 6, 7, 8]
    row = decoded(policy, [group(prompt, 1, 30)], 1, Rules(0.0, 0, 1.0, frozenset([258])))[0]
    generated = policy.network.generate(input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, 4),
                                        max_new_tokens=30, do_sample=False)
    assert generated[0, 4:].tolist() == row.token_ids


def test_in_bfloat16_log_probs_are_the_networks_own(policy: Policy) -> None:
    half = load_tiny(Path(policy.name))
    half.network.to(torch.bfloat16)
    groups = ragged()
    decoded(half, groups, 11)
    assert_faithful(half, groups, atol=0.3)


def test_a_network_that_computes_no_numbers_is_said_so(model_folder: Path) -> None:
    broken = load_tiny(model_folder)
    with torch.no_grad():
        broken.network.get_output_embeddings().weight[7] = torch.nan
    for temperature in (0.0, 1.0):
        with pytest.raises(SparkError, match="not finite"):
            decoded(broken, [group([1, 2], 2, 3)], 2, Rules(temperature, 0, 1.0, frozenset([258])))


def test_the_networks_own_attention_is_back_afterwards(policy: Policy) -> None:
    before = policy.network.config._attn_implementation
    decoded(policy, [group([1, 2], 2, 3)], 2)
    assert policy.network.config._attn_implementation == before


def test_up_to_how_many_tokens_a_network_attends_to_all_alike(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def built(**settings: Any) -> Qwen2ForCausalLM:
        return Qwen2ForCausalLM(Qwen2Config(hidden_size=16, intermediate_size=16, num_hidden_layers=2, vocab_size=32,
                                            num_attention_heads=2, num_key_value_heads=2, **settings))

    assert longest_shared(built()) == math.inf
    assert longest_shared(built(use_sliding_window=True, sliding_window=40, max_window_layers=1)) == 40
    stretched = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    assert longest_shared(built(rope_parameters=stretched, max_position_embeddings=64)) == 64
    monkeypatch.setattr(type(policy.network), "_supports_attention_backend", False)
    with pytest.raises(UsageError, match="attention cannot be exchanged"):
        longest_shared(policy.network)


def test_a_layer_that_attends_twice_keeps_the_keys_of_both(tmp_path: Path) -> None:
    config = DiffLlamaConfig(vocab_size=259, hidden_size=32, intermediate_size=32, num_hidden_layers=2,
                             num_attention_heads=4, num_key_value_heads=2, eos_token_id=258, pad_token_id=256)
    twice = load_tiny(write_network(tmp_path / "model", config, byte_tokenizer()))
    groups = ragged()
    decoded(twice, groups, 6)
    assert_faithful(twice, groups)
