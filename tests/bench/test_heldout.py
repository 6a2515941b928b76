"""Held-out items: enough and no more, half of them right, and every one of them verifies."""

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.bench.conftest import Model, boxed, problem, shown_to_judge

from sparkcli.bench.heldout import PROBLEMS_PER_ITEM, SAMPLES, HeldOut, held_out
from sparkcli.bench.stages import Stages
from sparkcli.engines.groups import failed, how
from sparkcli.errors import SparkError
from sparkcli.records import Prompt, dumps

PROBLEMS = [problem(str(number), answer=str(number)) for number in range(1000)]


def mixed(prompt: Prompt, number: int, greedy: bool) -> str:
    """The even samples are right, the odd ones off by one."""
    return boxed(str(int(prompt.answer or 0) + number % 2))


def sizes(items: HeldOut) -> dict[str, int]:
    return {name: len(found) for name, found in vars(items).items()}


def test_problems_that_cannot_be_sampled_are_no_problems_without_a_result(stages: Callable[..., Stages]) -> None:
    asked = stages(Model(mixed))
    failing = replace(asked, sample=lambda prompts, config: (
        failed(prompt, how(config, "none/0"), None, f"prompt {prompt.id!r}: has images") for prompt in prompts))
    with pytest.raises(SparkError, match=r"none of \d+ held-out problems could be sampled; the first: prompt '.*: has"):
        held_out(PROBLEMS, failing, 10)


def test_as_many_of_each_kind_as_asked_for(stages: Callable[..., Stages]) -> None:
    items = held_out(PROBLEMS, stages(Model(mixed)), 10)
    assert sizes(items) == {"solve": 10, "pointwise": 10, "pairwise": 10, "reflection": 10}
    assert items.solve == PROBLEMS[:10]


def test_no_more_problems_are_sampled_than_fill_the_last_batch(stages: Callable[..., Stages]) -> None:
    model = Model(mixed)
    held_out(PROBLEMS, stages(model), 10)
    assert len(model.asked) == 12  # batches of 16 completions are 4 problems


def test_half_of_the_answers_to_judge_are_right(stages: Callable[..., Stages]) -> None:
    items = held_out(PROBLEMS, stages(Model(mixed)), 10)
    assert Counter(item.answer for item in items.pointwise) == {"Yes": 5, "No": 5}
    for item in items.pointwise:
        right = shown_to_judge(item) == item.source[0].id  # a problem's name is its answer
        assert item.answer == ("Yes" if right else "No")


def test_whoever_knows_the_labels_scores_everywhere(stages: Callable[..., Stages]) -> None:
    items = held_out(PROBLEMS, stages(Model(mixed)), 10)
    knows = stages(Model(lambda prompt, number, greedy: boxed(prompt.answer or "")))
    for prompts in vars(items).values():
        assert [scored.reward for scored in knows.verify(knows.greedy(prompts))] == [1.0] * 10


def test_the_same_answers_give_the_same_bytes_in_batches_of_any_size(stages: Callable[..., Stages]) -> None:
    def content(items: HeldOut) -> list[bytes]:
        return [dumps(prompt) for prompts in vars(items).values() for prompt in prompts]

    small = stages(Model(mixed))
    large = replace(small, sampling=replace(small.sampling, batch_size=4000))
    assert content(held_out(PROBLEMS, small, 10)) == content(held_out(PROBLEMS, large, 10))


def test_a_base_that_is_never_right_ends_the_search(stages: Callable[..., Stages]) -> None:
    model = Model(lambda prompt, number, greedy: boxed("no"))
    endless = (problem(str(number)) for number in itertools.count())
    items = held_out(endless, stages(model), 3)
    assert sizes(items) == {"solve": 3, "pointwise": 0, "pairwise": 0, "reflection": 3}
    assert len(model.asked) == PROBLEMS_PER_ITEM * 3


def test_a_base_that_is_always_right_gives_one_answer_to_judge(stages: Callable[..., Stages]) -> None:
    """The next one would have to be wrong: items stay balanced rather than many."""
    items = held_out(PROBLEMS, stages(Model(lambda prompt, number, greedy: boxed(prompt.answer or ""))), 3)
    assert sizes(items) == {"solve": 3, "pointwise": 1, "pairwise": 0, "reflection": 0}


def test_problems_that_run_out_end_the_search(stages: Callable[..., Stages]) -> None:
    assert sizes(held_out(PROBLEMS[:5], stages(Model(mixed)), 100)) == {
        "solve": 5, "pointwise": 5, "pairwise": 5, "reflection": 5}


def test_each_problem_is_sampled_a_few_times(stages: Callable[..., Stages]) -> None:
    numbers = set()

    def reply(prompt: Prompt, number: int, greedy: bool) -> str:
        numbers.add((number, greedy))
        return mixed(prompt, number, greedy)

    held_out(PROBLEMS, stages(Model(reply)), 2)
    assert numbers == {(number, False) for number in range(SAMPLES)}
