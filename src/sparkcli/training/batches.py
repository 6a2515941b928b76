"""The deal of a phase's samples: updates of whole groups, each cut into micro-batches under a token budget.

An update is one step of the optimiser; a micro-batch is one forward pass. Groups are never torn between updates: a
group's advantages balance each other, and each micro-batch computes a group's prompt once. The cut into micro-batches
changes time and memory, never the result: each sample has its weight in the update beforehand. Pure functions.
"""

import itertools
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sparkcli.training.samples import Sample

Part = list[Sample]
"""Samples of one group: equal prompt, images included, and temperature."""

PATCH_COST = 0.5
"""Of a patch in a vision tower that is trained, in tokens; the image tokens that it becomes count besides, as tokens of
the prompt. By the activations that wait for the backward pass, measured with a quarter of the layers: 0.43 in the
proportions of Qwen2.5-VL 3B, 0.32 of 7B, 0.19 of Qwen3-VL 8B. Of a frozen tower nothing waits."""

Way = Literal["packed", "shared", "unshared"]
"""How a micro-batch runs: packed, no padding but in attention; shared, a rectangle of prompts and one of completions;
unshared, one rectangle in which each sample brings its own prompt."""


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Parts that go through the model together."""

    parts: list[Part]

    @property
    def samples(self) -> list[Sample]:
        """Its rows, in order."""
        return list(itertools.chain.from_iterable(self.parts))

    @property
    def emitted(self) -> int:
        """Completion tokens: those with a log-prob."""
        return sum(len(sample.completion_T) for sample in self.samples)

    @property
    def tokens(self) -> int:
        """Tokens that must be computed: each part's prompt once, and every completion."""
        return self.emitted + sum(len(part[0].prompt_T) for part in self.parts)

    @property
    def unshared_tokens(self) -> int:
        """Tokens there would be if each sample brought its own prompt."""
        return sum(len(sample.prompt_T) + len(sample.completion_T) for sample in self.samples)

    @property
    def padded(self) -> int:
        """Places in the rectangles of prompts and of completions, padding included."""
        return padded_tokens(self.parts)


def deal(parts: Sequence[Part], updates: int, seed: str, epochs: int = 1) -> list[list[Part]]:
    """The updates of a phase, each of whole groups, of as equally many samples as that allows; none is empty.

    In each epoch the groups (neighbours with one prompt id) are shuffled anew by `seed` and laid in a row, which is cut
    between groups where the cut is nearest to equal. Groups of one size: updates differ by one group at most. Fewer
    groups than updates: an update for each group. No samples: no update.
    """
    groups = [list(run) for _, run in itertools.groupby((part for part in parts if part), key=lambda part: part[0].id)]
    dealt: list[list[Part]] = []
    for epoch in range(epochs):
        order = list(groups)
        random.Random(f"{seed}/{epoch}" if epoch else seed).shuffle(order)
        ends = cuts([sum(map(len, group)) for group in order], updates)
        dealt += [list(itertools.chain.from_iterable(order[start:end])) for start, end in itertools.pairwise(ends)]
    return dealt


def cuts(sizes: Sequence[int], count: int) -> list[int]:
    """Where a row of groups is cut into `count` runs, none empty, each cut as near as can be to equal shares."""
    count = min(count, len(sizes))
    ends = [0, *itertools.accumulate(sizes)]
    chosen = [0]
    for number in range(1, count):
        possible = range(chosen[-1] + 1, len(sizes) - count + number + 1)
        chosen.append(min(possible, key=lambda place: abs(ends[place] * count - ends[-1] * number)))
    return [*chosen, len(sizes)] if count else chosen


def needed(parts: Iterable[Part], wanted: Callable[[Sample], bool]) -> list[Part]:
    """The parts without the samples that nobody wants computed; parts of which nothing is left are dropped."""
    kept = ([sample for sample in part if wanted(sample)] for part in parts)
    return [part for part in kept if part]


def micro_batches(parts: Sequence[Part], budget: int, way: Way = "packed") -> list[MicroBatch]:
    """Cuts an update into forward passes that `cost` at most `budget`.

    Parts of like length go together. A part that is too long alone is split between its samples; a single sample that
    is longer than the budget still gets its forward pass.
    """
    fitting = [piece for part in parts for piece in split(part, budget, way)]
    packings = [pack(sorted(fitting, key=key), budget, way) for key in (by_completion, by_prompt)]
    return min(packings, key=lambda packing: (sum(cost(batch.parts, way) for batch in packing), len(packing)))


def by_completion(part: Part) -> tuple[int, int]:
    """Longest completion first, then the prompt: little padding where completions dominate."""
    return longest_completion([part]), len(part[0].prompt_T)


def by_prompt(part: Part) -> tuple[int, int]:
    """Prompt first, then the longest completion: little padding where prompts dominate."""
    return by_completion(part)[::-1]


def pack(parts: Iterable[Part], budget: int, way: Way) -> list[MicroBatch]:
    """Fills one micro-batch after the other, in the order given."""
    batches: list[list[Part]] = []
    for part in parts:
        if batches and cost([*batches[-1], part], way) <= budget:
            batches[-1].append(part)
        else:
            batches.append([part])
    return [MicroBatch(batch) for batch in batches]


def split(part: Part, budget: int, way: Way) -> list[Part]:
    """The part itself if it fits, else pieces that do, samples of like length together."""
    pieces: list[Part] = []
    for sample in sorted(part, key=lambda sample: len(sample.completion_T)):
        if pieces and cost([[*pieces[-1], sample]], way) <= budget:
            pieces[-1].append(sample)
        else:
            pieces.append([sample])
    return pieces if len(pieces) > 1 else [part]


def cost(parts: Sequence[Part], way: Way) -> int:
    """What a forward pass counts against the budget: its tokens, padding included.

    Packed, padding costs in attention alone, and counts an eighth. Measured on a body of 28 layers of 1536 with an
    adapter, a token takes 4.1 MiB until its backward pass and a place of padding a fifteenth of that. Images count by
    `PATCH_COST`, where their way through the vision tower is trained.
    """
    seen = math.ceil(PATCH_COST * patches(parts, way))
    if way != "packed":
        return places(parts, way) + seen
    return (7 * MicroBatch(list(parts)).tokens + padded_tokens(parts)) // 8 + seen


def patches(parts: Sequence[Part], way: Way) -> int:
    """Patches that go through a vision tower that is trained; 0 where it is frozen."""
    return sum(part[0].patches * (len(part) if way == "unshared" else 1) for part in parts)


def places(parts: Sequence[Part], way: Way) -> int:
    """Places in the rectangles of a forward pass, padding included."""
    if way == "unshared":
        prompt = max(len(part[0].prompt_T) for part in parts)
        return sum(map(len, parts)) * (prompt + longest_completion(parts))
    return padded_tokens(parts)


def padded_tokens(parts: Sequence[Part]) -> int:
    """Prompts as one rectangle, completions as another."""
    prompt = max(len(part[0].prompt_T) for part in parts)
    return len(parts) * prompt + sum(map(len, parts)) * longest_completion(parts)


def longest_completion(parts: Sequence[Part]) -> int:
    """Tokens of the longest completion."""
    return max(len(sample.completion_T) for part in parts for sample in part)


@dataclass(frozen=True, slots=True)
class Work:
    """What micro-batches compute, summed up."""

    tokens: int
    """Tokens that are no padding and go through the layers."""
    shared: int
    """Prompt tokens that are not computed, because another sample of their part brings them."""
    padding: float | None
    """Share of padding in what goes through the layers; None: nothing does."""
    attention_padding: float | None
    """Share of padding in the rectangles of attention."""


def work(batches: Sequence[MicroBatch], way: Way) -> Work:
    """The work of forward passes. Packed, the layers see no padding; otherwise as much as attention does."""
    whole = sum(batch.unshared_tokens for batch in batches)
    tokens = whole if way == "unshared" else sum(batch.tokens for batch in batches)
    rectangles = sum(places(batch.parts, way) for batch in batches)
    padding = 1 - tokens / rectangles if rectangles else None
    return Work(tokens, whole - tokens, 0.0 if batches and way == "packed" else padding, padding)
