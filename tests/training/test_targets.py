"""Which samples a phase trains on, and what it wants of them."""

from collections.abc import Callable

import pytest
import torch

from sparkcli.config import TrainConfig
from sparkcli.method.objectives import objective
from sparkcli.records import Sampling, Scored
from sparkcli.training.samples import Sample, read_phase
from sparkcli.training.targets import assign_advantages, needs_forward, trained

Build = Callable[..., Scored]
DEFAULT = TrainConfig()


def groups_of(records: list[Scored]) -> list[list[Sample]]:
    return read_phase(records, 100, "start").groups


def parts_of(records: list[Scored], config: TrainConfig = DEFAULT) -> list[list[tuple[str, int]]]:
    """The parts that are trained on, by id and number."""
    parts = trained(groups_of(records), objective(config), config)
    return [[(sample.id, sample.number) for sample in part] for part in parts]


@pytest.fixture
def three_kinds(scored: Build) -> list[Scored]:
    rewards = {"right": [1.0, 1.0], "noise": [0.1 + 0.2, 0.3], "mixed": [1.0, 0.0]}
    return [scored(prompt, n, reward) for prompt, values in rewards.items() for n, reward in enumerate(values)]


def test_constant_groups_are_dropped_or_kept(three_kinds: list[Scored]) -> None:
    assert parts_of(three_kinds) == [[("mixed", 0), ("mixed", 1)]]
    assert len(parts_of(three_kinds, TrainConfig(constant_groups="keep"))) == 3
    assert len(parts_of(three_kinds, TrainConfig(loss="grpo"))) == 3, "as its paper has it"


def test_a_kept_group_without_an_advantage_is_computed_only_for_a_kl_or_an_entropy(three_kinds: list[Scored]) -> None:
    groups = groups_of(three_kinds)
    assign_advantages(groups, objective(DEFAULT), DEFAULT)
    constant, mixed = groups[0][0], groups[2][0]
    bare = TrainConfig(kl=0.0)
    assert [needs_forward(constant, bare), needs_forward(mixed, bare)] == [False, True]
    assert needs_forward(constant, DEFAULT)
    assert needs_forward(constant, TrainConfig(kl=0.0, entropy_bonus=0.01))
    assert not needs_forward(constant, TrainConfig(kl=0.1, kl_in="reward"))


def test_completions_cut_at_the_limit_are_masked_on_request(scored: Build) -> None:
    records = [scored(sample=0), scored(sample=1, reward=0.0, finish_reason="length"), scored(sample=2, reward=0.0)]
    assert parts_of(records) == [[("p", 0), ("p", 1), ("p", 2)]]
    masked = TrainConfig(truncated="mask")
    assert parts_of(records, masked) == [[("p", 0), ("p", 2)]]
    groups = groups_of(records)
    assign_advantages(groups, objective(masked), masked)
    assert groups[0][0].advantage == pytest.approx((1 - 1 / 3) / 3 ** -0.5), "its reward counts in the group's mean"


def test_empty_completions_count_in_the_mean_of_their_group_alone(scored: Build) -> None:
    records = [scored(sample=0), scored(sample=1, reward=0.0, token_ids=(), logprobs=())]
    assert parts_of(records) == [[("p", 0)]]


def test_other_prompt_tokens_or_temperatures_share_no_forward_pass(scored: Build) -> None:
    warm = Sampling(temperature=0.5, top_p=1.0, top_k=0, seed=0, max_tokens=8, engine="test")
    records = [scored(sample=0), scored(sample=1, reward=0.0), scored(sample=2, reward=0.0, sampling=warm),
               scored(sample=3, prompt_token_ids=(1, 2))]
    assert parts_of(records) == [[("p", 0), ("p", 1)], [("p", 2)], [("p", 3)]]


def test_a_kl_in_the_reward_is_taken_off_before_the_advantage(scored: Build) -> None:
    config = TrainConfig(kl=0.1, kl_in="reward", kl_estimator="k1", advantage="mean")
    groups = groups_of([scored(sample=0, logprobs=(-0.5, -0.25)), scored(sample=1, reward=0.0, logprobs=(-1.0, -1.0))])
    for sample, reference in zip(groups[0], [(-0.7, -0.35), (-1.0, -0.6)], strict=True):
        sample.reference_T = torch.tensor(reference)
    assign_advantages(groups, objective(config), config)
    rewards = [1 - 0.1 * 0.3, 0 - 0.1 * -0.4]
    half = (rewards[0] - rewards[1]) / 2
    assert [sample.advantage for sample in groups[0]] == pytest.approx([half, -half])
