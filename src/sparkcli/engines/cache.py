"""Keys and values with room at the end, so that a decoding step writes in place instead of copying all of them.

Axes: B rows, H key-value heads, S tokens, D head dimension.
"""

from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

ROOM = 64
"""Tokens by which a cache grows at least; beyond that by half of its length."""


class RoomyLayer(DynamicLayer):
    """One layer. Holds no gradients: it is written in place."""

    def __init__(self, keys_BHSD: Tensor, values_BHSD: Tensor) -> None:
        super().__init__()
        self.dtype, self.device, self.is_initialized = keys_BHSD.dtype, keys_BHSD.device, True
        self.length = keys_BHSD.shape[2]
        self.roomy_keys, self.roomy_values = _with_room(keys_BHSD), _with_room(values_BHSD)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Appends; returns views of all that is held."""
        start, self.length = self.length, self.length + key_states.shape[2]
        if self.length > self.roomy_keys.shape[2]:
            self.roomy_keys = _with_room(self.roomy_keys[:, :, :start])
            self.roomy_values = _with_room(self.roomy_values[:, :, :start])
        self.roomy_keys[:, :, start:self.length] = key_states
        self.roomy_values[:, :, start:self.length] = value_states
        return self.roomy_keys[:, :, :self.length], self.roomy_values[:, :, :self.length]

    def get_seq_length(self) -> int:
        """Tokens held, without the room."""
        return self.length

    def select(self, rows_B: Tensor) -> "RoomyLayer":
        """The layer with these rows only."""
        return RoomyLayer(self.roomy_keys[:, :, :self.length].index_select(0, rows_B),
                          self.roomy_values[:, :, :self.length].index_select(0, rows_B))


class RoomyCache(DynamicCache):
    """A layer of each, as transformers' networks take it."""

    layers: list[RoomyLayer]  # type: ignore[assignment]

    @classmethod
    def of(cls, cache: DynamicCache) -> "RoomyCache":
        """A copy of a filled cache, with room."""
        roomy = cls()
        roomy.layers = [RoomyLayer(keys, values) for keys, values, _ in cache]
        return roomy

    def select(self, rows_B: Tensor) -> "RoomyCache":
        """The cache with these rows only."""
        selected = RoomyCache()
        selected.layers = [layer.select(rows_B) for layer in self.layers]
        return selected


def _with_room(x_BHSD: Tensor) -> Tensor:
    rows, heads, length, dim = x_BHSD.shape
    roomy = x_BHSD.new_empty(rows, heads, length + max(ROOM, length // 2), dim)
    roomy[:, :, :length] = x_BHSD
    return roomy
