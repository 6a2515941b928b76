"""Sampling one batch: the prompts run once, are expanded to their samples, and all rows advance a token at a time.

Axes: P prompts, B rows in flight, R rows the batch began with, T tokens, S cached tokens, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sparkcli.engines.cache import RoomyCache
from sparkcli.engines.draws import draw, uniforms
from sparkcli.errors import SparkError
from sparkcli.models.head import logits_of
from sparkcli.models.prefix import Prefix, expand, pad_left, prefill

COMPACT_BELOW = 0.75
"""Finished rows are dropped once fewer than this share of the batch is still running: dropping copies the cache."""


@dataclass(frozen=True)
class Request:
    """Rows that continue one prompt."""

    token_ids: Sequence[int]
    keys: Sequence[int]
    """Key of each row's random stream."""
    limit: int
    """New tokens at most."""


@dataclass(frozen=True)
class Decoded:
    """What one row emitted."""

    token_ids: list[int]
    logprobs: list[float]
    stopped: bool
    """Whether the last token is an end marker; otherwise the limit was reached."""


@dataclass(frozen=True)
class Rules:
    """How tokens are drawn, and which of them end a row."""

    temperature: float
    top_k: int
    top_p: float
    stop_ids: Sequence[int]


@torch.no_grad()
def decode(network: PreTrainedModel, requests_P: Sequence[Request], rules: Rules) -> list[Decoded]:
    """Completes every row of every request; the rows of the requests one after another."""
    batch = _Batch(network, requests_P, rules)
    while batch.advance():
        pass
    return batch.results()


class _Batch:
    """Rows in flight. Finished rows run along, their tokens unread, until enough of them make dropping pay."""

    def __init__(self, network: PreTrainedModel, requests_P: Sequence[Request], rules: Rules) -> None:
        self.network, self.rules = network, rules
        device = network.device
        repeats_P = [len(request.keys) for request in requests_P]
        prefix = expand(prefill(network, *pad_left([r.token_ids for r in requests_P], device)), repeats_P)
        self.cache = RoomyCache.of(prefix.cache)
        self.hidden_BD = prefix.last_hidden_BD
        self.positions_B = prefix.lengths_B
        limits = [r.limit for r in requests_P for _ in r.keys]
        self.keys_B = torch.tensor([key for r in requests_P for key in r.keys], device=device)
        self.limits_B = torch.tensor(limits, device=device)
        self.stop_ids = torch.tensor(rules.stop_ids, device=device, dtype=torch.long)
        self.rows_B = torch.arange(len(limits), device=device)
        self.running_B = torch.ones(len(limits), dtype=torch.bool, device=device)
        self.tokens_RT = torch.zeros(len(limits), max(limits), dtype=torch.long, device=device)
        self.logprobs_RT = torch.zeros(len(limits), max(limits), device=device)
        self.lengths_R = torch.zeros(len(limits), dtype=torch.long, device=device)
        self.stopped_R = torch.zeros(len(limits), dtype=torch.bool, device=device)
        self.mask_BS = _padded_mask(prefix, max(limits))
        self.step = 0

    def advance(self) -> bool:
        """Draws a token for every row and, unless all are finished, runs the network on them."""
        rules = self.rules
        logits_BV = logits_of(self.network, self.hidden_BD)
        tokens_B, logprobs_B = draw(logits_BV, uniforms(self.keys_B, self.step), rules.temperature, rules.top_k,
                                    rules.top_p)
        self.tokens_RT[self.rows_B, self.step] = tokens_B
        self.logprobs_RT[self.rows_B, self.step] = logprobs_B
        self.step += 1
        tokens_B = self._finish(tokens_B)
        if tokens_B.numel() == 0:
            return False
        self._forward(tokens_B)
        return True

    def _finish(self, tokens_B: Tensor) -> Tensor:
        """Notes which rows have ended; returns the tokens of the rows that stay in the batch."""
        stopped_B = torch.isin(tokens_B, self.stop_ids) & self.running_B
        ended_B = stopped_B | ((self.limits_B <= self.step) & self.running_B)
        if not bool(ended_B.any()):
            return tokens_B
        self.lengths_R[self.rows_B[ended_B]] = self.step
        self.stopped_R[self.rows_B[stopped_B]] = True
        self.running_B &= ~ended_B
        running = int(self.running_B.sum())
        if running < COMPACT_BELOW * len(self.running_B):
            kept_K = self.running_B.nonzero()[:, 0]
            tokens_B = tokens_B[kept_K]
            if running:
                self._keep(kept_K)
        return tokens_B

    def _keep(self, kept_K: Tensor) -> None:
        for name in ("keys_B", "limits_B", "rows_B", "running_B", "positions_B"):
            setattr(self, name, getattr(self, name)[kept_K])
        if self.mask_BS is not None:
            self.mask_BS = self.mask_BS[kept_K]
        self.cache = self.cache.select(kept_K)

    def _forward(self, tokens_B: Tensor) -> None:
        length = self.cache.get_seq_length() + 1
        mask_BS = None if self.mask_BS is None else self.mask_BS[:, :length]
        output = self.network.base_model(
            input_ids=tokens_B[:, None], position_ids=self.positions_B[:, None], attention_mask=mask_BS,
            past_key_values=self.cache, use_cache=True)
        self.positions_B = self.positions_B + 1
        self.hidden_BD = output.last_hidden_state[:, -1]

    def results(self) -> list[Decoded]:
        """What each row emitted, in the order of the requests.

        Raises:
            SparkError: the network computed something that is no number.
        """
        if not bool(self.logprobs_RT.isfinite().all()):
            raise SparkError("the model's logits are not finite, so nothing can be sampled; its weights may be broken, "
                             "or float16 overflows: try --dtype bfloat16 or float32, or an earlier policy")
        rows = zip(self.tokens_RT.tolist(), self.logprobs_RT.tolist(), self.lengths_R.tolist(),
                   self.stopped_R.tolist(), strict=True)
        return [Decoded(tokens[:length], logprobs[:length], stopped) for tokens, logprobs, length, stopped in rows]


def _padded_mask(prefix: Prefix, limit: int) -> Tensor | None:
    """The mask of the prompts with ones for all tokens to come; None where no prompt is padded."""
    if bool(prefix.mask_BS.all()):
        return None
    ones = prefix.mask_BS.new_ones(prefix.mask_BS.shape[0], limit)
    return torch.cat([prefix.mask_BS, ones], 1)
