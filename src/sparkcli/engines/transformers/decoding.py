"""Sampling in continuous batches: a prompt runs once, its rows advance a token at a time, rows that have ended leave
and those of waiting prompts join.

What joins when depends on the groups alone, not on the clock. The host keeps the book; it waits for the device once a
step, for the tokens.

Axes: P prompts, B rows in flight, S tokens of prompts, A axes of positions, D hidden.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sparkcli.engines.transformers.attention import Filling, Seats, Step, sharing
from sparkcli.engines.transformers.cache import Moves, Room, SharedCache
from sparkcli.engines.transformers.draws import draw, uniforms
from sparkcli.engines.transformers.rows import Group, Row, Rules
from sparkcli.models.head import logits_of
from sparkcli.models.prefix import pad_right, positions, run, told
from sparkcli.models.sight import Placed, axes

JOIN_SHARE = 0.25
"""Prompts join once so much of the room for rows is free: a forward pass for each alone costs more than the wait."""

T = TypeVar("T")


@torch.no_grad()
def decode(network: PreTrainedModel, groups: Sequence[Group], rules: Rules, room: Room) -> None:
    """Completes every row of every group.

    Args:
        groups: in the order in which they join; prompts of similar lengths should be neighbours. None has more rows
            than there is room for.
    """
    with sharing(network):
        _Flight(network, groups, rules, room).run()


class _Flight:
    """Rows in flight and groups that wait. Between two steps the last token of each row is not in the cache yet."""

    def __init__(self, network: PreTrainedModel, groups: Sequence[Group], rules: Rules, room: Room) -> None:
        self.network, self.rules, self.room = network, rules, room
        self.waiting = deque(groups)
        self.groups_P: list[Group] = []
        self.rows_B: list[Row] = []
        self.group_of_B: list[Group] = []
        self.cache = SharedCache(room)

    def run(self) -> None:
        while self.waiting or self.rows_B:
            joined, left = self._join(), self._leave()
            if (joined or left) and self.rows_B:
                self._seat()
            if self.rows_B:
                self._advance()

    def _join(self) -> bool:
        """Takes in waiting prompts where that pays, with the first token of each of their rows."""
        joining: list[Group] = []
        free = self.room.rows - len(self.rows_B)
        if self.rows_B and free < JOIN_SHARE * self.room.rows:
            return False
        while (self.waiting and len(self.waiting[0].rows) <= free
               and len(self.groups_P) + len(joining) < self.room.prompts):
            joining.append(self.waiting.popleft())
            free -= len(joining[-1].rows)
        for piece in _pieces(joining, self.room.prefill):
            self._prefill(piece)
        return bool(joining)

    def _prefill(self, groups_P: Sequence[Group]) -> None:
        device = self.network.device
        prompts_P = [prompt for group in groups_P if (prompt := group.shown()) is not None]
        groups_P = [group for group in groups_P if not group.rows[0].error]
        if not groups_P:
            return
        hidden_PSD = self._prompts_hidden(prompts_P)
        prompt_of_B = [place for place, group in enumerate(groups_P) for _ in group.rows]
        last_of_B = [len(group.token_ids) - 1 for group in groups_P for _ in group.rows]
        rows = [row for group in groups_P for row in group.rows]
        self._draw(rows, hidden_PSD[prompt_of_B, last_of_B], torch.tensor([row.key for row in rows], device=device),
                   torch.zeros(len(rows), dtype=torch.long, device=device))
        self.groups_P += groups_P
        self.rows_B += rows
        self.group_of_B += [group for group in groups_P for _ in group.rows]

    def _prompts_hidden(self, prompts_P: Sequence[Placed]) -> Tensor:
        """Runs prompts, and the images of all of them, in one pass."""
        network = self.network
        ids_PS, _ = pad_right([prompt.token_ids for prompt in prompts_P], network.device)
        told_PS, _ = pad_right([told(network, prompt.token_ids, bool(prompt.pixels)) for prompt in prompts_P],
                               network.device)
        count = axes(prompts_P)
        places_APS = torch.stack([pad_right(rows, network.device)[0]
                                  for rows in positions([(prompt, 0) for prompt in prompts_P], count or 1)])
        return run(network, ids_PS, told_PS, prompts_P, position_ids=places_APS if count else places_APS[0],
                   part=Filling(self.cache, len(self.groups_P)))

    def _leave(self) -> bool:
        """Lets go of rows that have ended, and of prompts that no row continues any more."""
        staying_B = [not row.ended for row in self.rows_B]
        if all(staying_B):
            return False
        if moves := _moves(staying_B):
            self.cache.move_rows(moves, max(len(self.rows_B[source].token_ids) for source, _ in moves) - 1)
        _compact(self.rows_B, moves, sum(staying_B))
        _compact(self.group_of_B, moves, sum(staying_B))
        alive = set(self.group_of_B)
        staying_P = [group in alive for group in self.groups_P]
        if moves := _moves(staying_P):
            self.cache.move_prompts(moves, max(len(self.groups_P[source].token_ids) for source, _ in moves))
        _compact(self.groups_P, moves, sum(staying_P))
        return True

    def _seat(self) -> None:
        """Tells the device who sits where."""
        device = self.network.device
        place = {group: number for number, group in enumerate(self.groups_P)}
        self.seats = Seats.of([place[group] for group in self.group_of_B],
                              [len(group.token_ids) for group in self.groups_P], device)
        lengths = [len(row.token_ids) - 1 for row in self.rows_B]
        self.longest = max(lengths)
        self.lengths_B = torch.tensor(lengths, device=device)
        self.ends_B = torch.tensor([group.prompt.end for group in self.group_of_B], device=device)
        self.keys_B = torch.tensor([row.key for row in self.rows_B], device=device)
        self.tokens_B = torch.tensor([row.token_ids[-1] for row in self.rows_B], device=device)

    def _advance(self) -> None:
        """Runs the network on each row's last token and draws the next."""
        step = Step.of(self.cache, self.seats, self.lengths_B, self.longest)
        ids_B1 = self.tokens_B[:, None]
        hidden_B1D = run(self.network, ids_B1, ids_B1, (), position_ids=(self.ends_B + self.lengths_B)[:, None],
                         part=step)
        self.lengths_B = self.lengths_B + 1
        self.longest += 1
        self.tokens_B = self._draw(self.rows_B, hidden_B1D[:, 0], self.keys_B, self.lengths_B)

    def _draw(self, rows_B: Sequence[Row], hidden_BD: Tensor, keys_B: Tensor, steps_B: Tensor) -> Tensor:
        """A token more for each row."""
        rules = self.rules
        tokens_B, logprobs_B = draw(logits_of(self.network, hidden_BD), uniforms(keys_B, steps_B), rules.temperature,
                                    rules.top_k, rules.top_p)
        for row, token, logprob in zip(rows_B, tokens_B.tolist(), logprobs_B.tolist(), strict=True):
            row.add(token, logprob, rules.stop_ids)
        return tokens_B


def _pieces(groups: Sequence[Group], tokens: int) -> Iterator[list[Group]]:
    """Runs of prompts that have at most so many tokens, padded, and patches of images; a longer one goes alone."""
    piece: list[Group] = []
    for group in groups:
        more = [*piece, group]
        padded = len(more) * max(len(other.token_ids) for other in more)
        if piece and max(padded, sum(other.patches for other in more)) > tokens:
            yield piece
            piece = []
        piece.append(group)
    if piece:
        yield piece


def _moves(staying: Sequence[bool]) -> Moves:
    """What is moved where, so that those that stay have the first places."""
    count = sum(staying)
    return list(zip((place for place in range(count, len(staying)) if staying[place]),
                    (place for place in range(count) if not staying[place]), strict=True))


def _compact(seated: list[T], moves: Moves, count: int) -> None:
    for source, target in moves:
        seated[target] = seated[source]
    del seated[count:]
