"""The deal of a phase's samples: mini-batches of equal size, each cut into micro-batches under a token budget.

A mini-batch is one optimiser update; a micro-batch is one forward pass. A group's samples stay together as far as the
deal allows, because a micro-batch computes each group's prompt once. Pure functions.
"""

import itertools
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sparkcli.training.samples import Sample

Part = list[Sample]
"""Samples of one group: equal prompt tokens and temperature."""


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Parts that go through the model together: prompts padded to the longest, completions likewise."""

    parts: list[Part]

    @property
    def samples(self) -> list[Sample]:
        """Its rows, in order."""
        return list(itertools.chain.from_iterable(self.parts))

    @property
    def emitted(self) -> int:
        """Completion tokens: what the loss is a mean over."""
        return sum(len(sample.completion_T) for sample in self.samples)

    @property
    def tokens(self) -> int:
        """Tokens that must be computed: each part's prompt once, and every completion."""
        return self.emitted + sum(len(part[0].prompt_T) for part in self.parts)

    @property
    def padded(self) -> int:
        """Tokens that are computed, padding included."""
        return padded_tokens(self.parts)


def deal(groups: Sequence[Part], updates: int, seed: str) -> list[list[Part]]:
    """Mini-batches whose sizes differ by one sample at most, in an order drawn from `seed`.

    Whole groups are shuffled and laid in a row, and the row is cut into equal lengths, so at most `updates - 1` groups
    are torn. Fewer samples than updates: an update for each sample. No samples: no update.
    """
    order = list(groups)
    random.Random(seed).shuffle(order)
    row = [(number, sample) for number, group in enumerate(order) for sample in group]
    count = min(updates, len(row))
    cuts = [len(row) * i // count for i in range(count + 1)] if count else [0]
    return [regroup(row[start:end]) for start, end in itertools.pairwise(cuts)]


def regroup(row: Iterable[tuple[int, Sample]]) -> list[Part]:
    """Neighbours with the same group number, as parts."""
    return [[sample for _, sample in run] for _, run in itertools.groupby(row, key=lambda pair: pair[0])]


def micro_batches(parts: Sequence[Part], budget: int) -> list[MicroBatch]:
    """Cuts a mini-batch into forward passes of at most `budget` tokens, padding included.

    Parts of like length go together. A part that is too long alone is split between its samples; a single sample that
    is longer than the budget still gets its forward pass.
    """
    fitting = [piece for part in parts for piece in split(part, budget)]
    packings = [pack(sorted(fitting, key=key), budget) for key in (by_completion, by_prompt)]
    return min(packings, key=lambda packing: (sum(batch.padded for batch in packing), len(packing)))


def by_completion(part: Part) -> tuple[int, int]:
    """Longest completion first, then the prompt: little padding where completions dominate."""
    return max(len(sample.completion_T) for sample in part), len(part[0].prompt_T)


def by_prompt(part: Part) -> tuple[int, int]:
    """Prompt first, then the longest completion: little padding where prompts dominate."""
    return by_completion(part)[::-1]


def pack(parts: Iterable[Part], budget: int) -> list[MicroBatch]:
    """Fills one micro-batch after the other, in the order given."""
    batches: list[list[Part]] = []
    for part in parts:
        if batches and padded_tokens([*batches[-1], part]) <= budget:
            batches[-1].append(part)
        else:
            batches.append([part])
    return [MicroBatch(batch) for batch in batches]


def split(part: Part, budget: int) -> list[Part]:
    """The part itself if it fits, else pieces that do, samples of like length together."""
    pieces: list[Part] = []
    for sample in sorted(part, key=lambda sample: len(sample.completion_T)):
        if pieces and padded_tokens([[*pieces[-1], sample]]) <= budget:
            pieces[-1].append(sample)
        else:
            pieces.append([sample])
    return pieces if len(pieces) > 1 else [part]


def padded_tokens(parts: Sequence[Part]) -> int:
    """Tokens of a forward pass: prompts as one rectangle, completions as another."""
    prompt = max(len(part[0].prompt_T) for part in parts)
    completion = max(len(sample.completion_T) for part in parts for sample in part)
    return len(parts) * prompt + sum(map(len, parts)) * completion
