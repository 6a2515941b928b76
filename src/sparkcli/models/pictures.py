"""Prompts as a network runs them, their pixels in memory only as far as there is room.

An image of a million pixels is 25 MB as a network takes it: those of a window of prompts, or of a phase of training, do
not always fit. What is not kept is made again from the file.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence

from sparkcli.errors import InputError
from sparkcli.models.policy import Policy
from sparkcli.models.prompts import check_length, encode
from sparkcli.models.sight import Placed, place
from sparkcli.records import Prompt

ROOM = 1 << 30
"""Bytes of pixels that are kept."""


class Pictures:
    """Prompts, read and placed for a policy. Of those with images, the ones asked for last are kept."""

    def __init__(self, policy: Policy, room: int = ROOM) -> None:
        self.policy, self.room = policy, room
        self._held: OrderedDict[bytes, Placed] = OrderedDict()
        self._bytes = 0
        self._ids: dict[bytes, Sequence[int]] = {}

    def placed(self, prompt: Prompt, max_tokens: int | None = None) -> Placed:
        """A prompt with its pixels.

        Raises:
            InputError: see `encode`; or an image has another size than when it was first read.
        """
        key = hashlib.sha256(json.dumps([prompt.prompt, prompt.images]).encode()).digest()
        if key in self._held:
            self._held.move_to_end(key)
            placed = self._held[key]
            check_length(prompt, len(placed.token_ids), self.policy.reader, max_tokens)
            return placed
        placed = place(self.policy.network, encode(prompt, self.policy.reader, max_tokens))
        if placed.pixels:
            if list(self._ids.setdefault(key, placed.token_ids)) != list(placed.token_ids):
                raise InputError(f"prompt {prompt.id!r}: its images were changed while they were in use; "
                                 "leave the files alone until the command has ended")
            self._keep(key, placed)
        return placed

    def _keep(self, key: bytes, placed: Placed) -> None:
        self._held[key] = placed
        self._bytes += _size(placed)
        while self._bytes > self.room:
            _, oldest = self._held.popitem(last=False)
            self._bytes -= _size(oldest)


def _size(placed: Placed) -> int:
    return sum(pixels.nbytes for pixels in placed.pixels.values())
