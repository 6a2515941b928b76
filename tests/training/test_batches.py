"""Mini-batches of equal size; micro-batches under the budget; nothing lost."""

import random
from collections.abc import Callable

import pytest

from sparkcli.training.batches import MicroBatch, Part, deal, micro_batches, padded_tokens
from sparkcli.training.samples import Sample


@pytest.fixture
def groups(sample: Callable[..., Sample]) -> list[Part]:
    """Ragged groups with prompts and completions of many lengths."""
    draw = random.Random(0)
    return [[sample(f"p{g}", n, prompt, draw.randint(1, 60)) for n in range(draw.randint(1, 9))]
            for g in range(20) for prompt in [draw.randint(5, 120)]]


def names(parts: list[Part]) -> list[str]:
    return sorted(sample.name for part in parts for sample in part)


@pytest.mark.parametrize("updates", [1, 2, 7])
def test_minibatches_differ_by_one_sample_at_most_and_lose_none(groups: list[Part], updates: int) -> None:
    minibatches = deal(groups, updates, "seed")
    sizes = [sum(map(len, parts)) for parts in minibatches]
    assert len(sizes) == updates
    assert max(sizes) - min(sizes) <= 1
    assert sorted(name for parts in minibatches for name in names(parts)) == names(groups)
    assert sum(map(len, minibatches)) <= len(groups) + updates - 1, "more groups were torn than the deal needs"


def test_fewer_samples_than_updates_give_fewer_updates(sample: Callable[..., Sample]) -> None:
    assert [names(parts) for parts in deal([[sample(), sample(number=1)]], 8, "")] == [
        ["prompt 'p', sample 0"], ["prompt 'p', sample 1"]]
    assert deal([], 8, "") == []


def test_the_deal_depends_on_the_seed_alone(groups: list[Part]) -> None:
    assert deal(groups, 2, "a") == deal(groups, 2, "a")
    assert deal(groups, 2, "a") != deal(groups, 2, "b")


@pytest.mark.parametrize("budget", [1, 200, 1000, 100_000])
def test_forward_passes_stay_within_the_budget(groups: list[Part], budget: int) -> None:
    batches = micro_batches(groups, budget)
    assert names([part for batch in batches for part in batch.parts]) == names(groups)
    for batch in batches:
        assert batch.padded <= budget or len(batch.samples) == 1
        assert batch.tokens <= batch.padded == padded_tokens(batch.parts)


def test_sorting_saves_padding(groups: list[Part]) -> None:
    def padding(batches: list[MicroBatch]) -> float:
        return 1 - sum(batch.tokens for batch in batches) / sum(batch.padded for batch in batches)

    assert padding(micro_batches(groups, 600)) < padding([MicroBatch(groups)])


def test_a_group_counts_its_prompt_once(sample: Callable[..., Sample]) -> None:
    batch = MicroBatch([[sample(number=n, prompt=100, completion=10) for n in range(8)]])
    assert batch.tokens == batch.padded == 100 + 80
    assert batch.emitted == 80
