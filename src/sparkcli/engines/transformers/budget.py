"""How many tokens are held at once, and what of it goes to prompts and to completions."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from sparkcli.engines.transformers.cache import Room
from sparkcli.engines.transformers.rows import Group
from sparkcli.errors import SparkError
from sparkcli.models.memory import collect, is_out_of_memory

log = logging.getLogger(__name__)

PREFILL_TOKENS = 8192
"""Of the prompts in one forward pass at most, and patches of their images, where each alone has fewer: more fill no
processor better, and take memory."""


class Budget:
    """Tokens held at once, at most; halved whenever memory runs out, and never raised again."""

    def __init__(self) -> None:
        self.fitting: int | None = None

    def spend(self, groups: Sequence[Group], rows: int, tokens: int,
              decode: Callable[[Sequence[Group], Room], None], *, shared: bool = True) -> None:
        """`decode` until all rows of all groups have ended; those that have not start again where memory runs out.

        Args:
            rows: in flight at most.
            tokens: held at most, as the user says.
            decode: completes every row of groups within some room.
            shared: whether a prompt is held once for all its rows.

        Raises:
            SparkError: a single row does not fit.
        """
        while pending := _unended(groups):
            room = room_within(pending, rows, min(tokens, self.fitting or tokens), shared=shared)
            if not _fits(_cut(pending, room.rows), room, decode):
                self._halve(room)

    def _halve(self, room: Room) -> None:
        collect()
        if room.rows == 1:
            raise SparkError(f"out of memory with one completion in flight, of {room.tokens} tokens at most after a "
                             f"prompt of up to {room.prompt_tokens}; try a smaller --max-tokens, --max-prompt-tokens "
                             "or, with images, --max-pixels")
        self.fitting = max(1, room.held // 2)
        log.warning("out of memory with %d tokens in flight; going on with --batch-tokens %d", room.held, self.fitting)


def room_within(groups: Sequence[Group], rows: int, tokens: int, *, shared: bool = True) -> Room:
    """The most rows whose longest prompts and completions are `tokens` together; one row always has room.

    `shared`: a prompt is held once for all its rows.
    """
    samples = max(len(group.rows) for group in groups)
    total = sum(len(group.rows) for group in groups)
    prompt_tokens = max(len(group.token_ids) for group in groups)
    limit = max(row.limit for group in groups for row in group.rows)

    def room(rows: int) -> Room:
        whole = rows // samples * samples or rows
        shown = min(whole, len(groups), 2 * -(-whole // samples))  # some have but a row or two left
        prompts = shown if shared else whole
        return Room(prompts, prompt_tokens, whole, limit, min(tokens, PREFILL_TOKENS))

    return next((found for count in range(min(rows, total), 1, -1) if (found := room(count)).held <= tokens), room(1))


def _fits(groups: Sequence[Group], room: Room, decode: Callable[[Sequence[Group], Room], None]) -> bool:
    """Decodes; False if memory ran out. The error, which holds tensors, is gone by then."""
    try:
        decode(groups, room)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        log.debug("%s", error)
        return False
    return True


def _unended(groups: Sequence[Group]) -> list[Group]:
    """Groups of the rows that have not ended, each to start again."""
    pending = [replace(group, rows=[row for row in group.rows if not row.ended]) for group in groups]
    for group in pending:
        for row in group.rows:
            row.restart()
    return [group for group in pending if group.rows]


def _cut(groups: Sequence[Group], rows: int) -> list[Group]:
    """Groups of at most so many rows."""
    return [replace(group, rows=group.rows[start:start + rows])
            for group in groups for start in range(0, len(group.rows), rows)]
