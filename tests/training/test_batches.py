"""Updates of whole groups and nearly equal size; micro-batches under the budget; nothing lost."""

import random
from collections.abc import Callable

import pytest

from sparkcli.training import batches
from sparkcli.training.batches import MicroBatch, Part, Way, cuts, deal, micro_batches, needed, work
from sparkcli.training.samples import Sample

Build = Callable[..., Sample]


@pytest.fixture
def sample() -> Build:
    """Builds a sample with a prompt and a completion of given lengths."""

    def build(id: str = "p", number: int = 0, prompt: int = 3, completion: int = 2) -> Sample:
        return Sample(id=id, number=number, task="solve", prompt_T=tuple(range(prompt)), reward=1.0, temperature=1.0,
                      completion_T=tuple(range(completion)), logprobs_T=(-0.5,) * completion, advantage=1.0)

    return build


@pytest.fixture
def groups(sample: Build) -> list[Part]:
    """Ragged groups with prompts and completions of many lengths."""
    draw = random.Random(0)
    return [[sample(f"p{g}", n, prompt, draw.randint(1, 60)) for n in range(draw.randint(1, 9))]
            for g in range(20) for prompt in [draw.randint(5, 120)]]


def names(parts: list[Part]) -> list[str]:
    return sorted(sample.name for part in parts for sample in part)


def sizes(updates: list[list[Part]]) -> list[int]:
    return [sum(map(len, parts)) for parts in updates]


@pytest.mark.parametrize("updates", [1, 2, 7, 20])
def test_updates_have_whole_groups_and_lose_none(groups: list[Part], updates: int) -> None:
    dealt = deal(groups, updates, "seed")
    assert len(dealt) == updates
    assert min(sizes(dealt)) > 0
    assert sorted(id(part) for parts in dealt for part in parts) == sorted(map(id, groups))
    largest = max(map(len, groups))
    if updates <= 7:
        assert max(sizes(dealt)) - min(sizes(dealt)) <= largest


@pytest.mark.parametrize(("count", "expected"), [(64, [64] * 8), (37, [40, 32, 40, 32, 40, 40, 32, 40])])
def test_groups_of_one_size_are_dealt_to_one_group_at_most(sample: Build, count: int, expected: list[int]) -> None:
    """The published runs: 64 prompts of 8 samples in 8 updates of 64. Groups that were dropped leave 4 or 5 each."""
    groups = [[sample(f"p{g}", n) for n in range(8)] for g in range(count)]
    assert sizes(deal(groups, 8, "seed")) == expected


@pytest.mark.parametrize(("lengths", "count", "expected"), [
    ([1, 1, 1, 1, 1, 1], 3, [0, 2, 4, 6]),
    ([9, 1, 1, 1], 2, [0, 1, 4]),
    ([1, 1, 1, 9], 3, [0, 2, 3, 4]),
    ([5], 8, [0, 1]),
    ([], 8, [0]),
])
def test_where_a_row_is_cut(lengths: list[int], count: int, expected: list[int]) -> None:
    assert cuts(lengths, count) == expected


def test_a_group_of_two_temperatures_stays_in_one_update(sample: Build) -> None:
    groups = [[sample(f"p{g}", n) for n in half] for g in range(9) for half in ((0, 1), (2, 3))]
    for parts in deal(groups, 4, "seed"):
        assert len(names(parts)) == 4 * len({part[0].id for part in parts})


def test_fewer_groups_than_updates_give_fewer_updates(sample: Build) -> None:
    assert [names(parts) for parts in deal([[sample(), sample(number=1)]], 8, "")] == [
        ["prompt 'p', sample 0", "prompt 'p', sample 1"]]
    assert deal([], 8, "") == []


def test_the_deal_depends_on_the_seed_alone(groups: list[Part]) -> None:
    assert deal(groups, 2, "a") == deal(groups, 2, "a")
    assert deal(groups, 2, "a") != deal(groups, 2, "b")


def test_each_epoch_sees_every_group_in_another_order(groups: list[Part]) -> None:
    dealt = deal(groups, 4, "seed", epochs=3)
    epochs = [dealt[start:start + 4] for start in (0, 4, 8)]
    assert epochs[0] == deal(groups, 4, "seed")
    for epoch in epochs:
        assert names([part for parts in epoch for part in parts]) == names(groups)
    assert epochs[0] != epochs[1] != epochs[2]


def test_what_nobody_wants_is_not_computed(groups: list[Part]) -> None:
    groups[3][0].advantage = 0.0
    for sample in groups[5]:
        sample.advantage = 0.0
    kept = needed(groups, lambda sample: sample.advantage != 0)
    assert names(kept) == sorted(set(names(groups)) - {groups[3][0].name} - set(names([groups[5]])))
    assert all(kept)


@pytest.mark.parametrize("way", ["packed", "shared", "unshared"])
@pytest.mark.parametrize("budget", [1, 200, 1000, 100_000])
def test_forward_passes_stay_within_the_budget(groups: list[Part], budget: int, way: Way) -> None:
    cut = micro_batches(groups, budget, way)
    assert names([part for batch in cut for part in batch.parts]) == names(groups)
    for batch in cut:
        assert batches.cost(batch.parts, way) <= budget or len(batch.samples) == 1
        assert batch.tokens <= batches.cost(batch.parts, way) <= batches.places(batch.parts, way)


def test_sorting_saves_padding(groups: list[Part]) -> None:
    sorted_away = work(micro_batches(groups, 600), "shared").padding
    whole = work([MicroBatch(groups)], "shared").padding
    assert sorted_away is not None and whole is not None
    assert sorted_away < whole


def test_a_group_counts_its_prompt_once(sample: Build) -> None:
    batch = MicroBatch([[sample(number=n, prompt=100, completion=10) for n in range(8)]])
    assert batch.tokens == batch.padded == 100 + 80
    assert batch.emitted == 80
    assert batch.unshared_tokens == 8 * 110


def test_padding_is_what_each_way_really_computes(sample: Build) -> None:
    """Two prompts of 10 and 20 tokens, two completions each, of 4 and 8 tokens."""
    batch = MicroBatch([[sample(f"p{prompt}", n, prompt, length) for n, length in enumerate((4, 8))]
                        for prompt in (10, 20)])
    packed, shared, unshared = (work([batch], way) for way in ("packed", "shared", "unshared"))
    assert packed.tokens == shared.tokens == 10 + 20 + 2 * (4 + 8)
    assert packed.shared == shared.shared == 10 + 20
    assert (packed.padding, packed.attention_padding) == (0, 1 - 54 / (2 * 20 + 4 * 8))
    assert (shared.padding, shared.attention_padding) == (1 - 54 / 72, 1 - 54 / 72)
    assert (unshared.tokens, unshared.shared, unshared.padding) == (84, 0, 1 - 84 / (4 * 28))


def test_padding_counts_little_where_it_costs_little(sample: Build) -> None:
    parts = [[sample("p", 0, 20, 4), sample("p", 1, 20, 20)]]
    assert [batches.cost(parts, way) for way in ("packed", "shared", "unshared")] == [44 + 16 // 8, 60, 80]


def test_no_work_has_no_padding() -> None:
    nothing = work([], "packed")
    assert (nothing.tokens, nothing.shared, nothing.padding, nothing.attention_padding) == (0, 0, None, None)
