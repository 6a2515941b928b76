"""Keys and values of rows in flight, each prompt's held once for all its rows.

Places are numbered: a prompt has one, a row has one, both always the first of them, so that a step reads no more than
what is alive, in place. Whoever leaves is replaced by the last one.

Axes: P prompts, B rows, H key-value heads, S tokens of prompts, T tokens of completions, D head dimension, M moves.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

FIRST = 64
"""Tokens of a completion that there is room for at first; doubled whenever one is longer."""

Moves = list[tuple[int, int]]
"""Places: from, to."""


@dataclass(frozen=True)
class Room:
    """What is held at most."""

    prompts: int
    prompt_tokens: int
    """Of the longest prompt."""
    rows: int
    tokens: int
    """Of the longest completion."""
    prefill: int
    """Prompts' tokens in one forward pass, where each alone has fewer."""

    @property
    def held(self) -> int:
        """Tokens in all."""
        return self.prompts * self.prompt_tokens + self.rows * self.tokens


class Layer:
    """One layer's keys and values. Zeros at first: what is masked must still be a number."""

    def __init__(self, room: Room, key_BHTD: Tensor, value_BHTD: Tensor) -> None:
        def zeros(like: Tensor, places: int, tokens: int) -> Tensor:
            return like.new_zeros(places, like.shape[1], tokens, like.shape[3])

        self.room = room.tokens

        self.prompt_keys_PHSD = zeros(key_BHTD, room.prompts, room.prompt_tokens)
        self.prompt_values_PHSD = zeros(value_BHTD, room.prompts, room.prompt_tokens)
        self.keys_BHTD = zeros(key_BHTD, room.rows, min(FIRST, room.tokens))
        self.values_BHTD = zeros(value_BHTD, room.rows, min(FIRST, room.tokens))

    def fill(self, first: int, key_PHSD: Tensor, value_PHSD: Tensor) -> None:
        """Takes in prompts, from place `first` on."""
        prompts, _, length, _ = key_PHSD.shape
        self.prompt_keys_PHSD[first:first + prompts, :, :length] = key_PHSD
        self.prompt_values_PHSD[first:first + prompts, :, :length] = value_PHSD

    def append(self, rows_B: Tensor, lengths_B: Tensor, longest: int, key_BH1D: Tensor, value_BH1D: Tensor) -> None:
        """A token more for each row, after the `lengths_B` that it has; the longest then has `longest`."""
        if longest > self.keys_BHTD.shape[2]:
            self.keys_BHTD, self.values_BHTD = self._grown(self.keys_BHTD), self._grown(self.values_BHTD)
        self.keys_BHTD[rows_B, :, lengths_B] = key_BH1D[:, :, 0]
        self.values_BHTD[rows_B, :, lengths_B] = value_BH1D[:, :, 0]

    def _grown(self, held_BHTD: Tensor) -> Tensor:
        rows, heads, length, dim = held_BHTD.shape
        grown_BHTD = held_BHTD.new_zeros(rows, heads, min(2 * length, self.room), dim)
        grown_BHTD[:, :, :length] = held_BHTD
        return grown_BHTD


@dataclass
class SharedCache:
    """All layers, made when they are first used."""

    room: Room
    layers: dict[tuple[int, int], Layer] = field(default_factory=dict)
    """By their number, and which of its calls in a pass it is: a layer may attend more than once."""

    def layer(self, index: tuple[int, int], key_BHTD: Tensor, value_BHTD: Tensor) -> Layer:
        """The layer with this number; the first keys and values tell its shape."""
        if index not in self.layers:
            self.layers[index] = Layer(self.room, key_BHTD, value_BHTD)
        return self.layers[index]

    def move_rows(self, moves: Moves, length: int) -> None:
        """Copies rows, of which the longest has `length` tokens."""
        for layer in self.layers.values():
            _move((layer.keys_BHTD, layer.values_BHTD), moves, length)

    def move_prompts(self, moves: Moves, length: int) -> None:
        """Copies prompts, of which the longest has `length` tokens."""
        for layer in self.layers.values():
            _move((layer.prompt_keys_PHSD, layer.prompt_values_PHSD), moves, length)


def _move(tensors: tuple[Tensor, ...], moves: Moves, length: int) -> None:
    source_M, target_M = torch.tensor(moves, device=tensors[0].device).unbind(1)
    for held in tensors:
        held[target_M, :, :length] = held[source_M, :, :length]
