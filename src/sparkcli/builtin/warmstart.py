"""The warm start: a net learns to imitate demonstrations, from scratch.

Muon for the matrices inside the layers, AdamW for the rest; loss on the reply's tokens only. Sequences of
similar length share a batch, so that little is padded, and all batches weigh the same: a token of a short reply counts
about ten times as much as one of a long reply. Hence 15 % of terse demonstrations make terseness the habit.
"""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from sparkcli.builtin.demonstrations import Demonstration, Mixture, Subject

BATCH = 64
BUCKETS = 8
MUON_RATE, ADAMW_RATE = 0.02, 3e-3
WARMUP_STEPS = 20
LOG_EVERY = 50
IGNORED = -100
INSIDE = ("layers.", "blocks.", "merger.")
"""Names of the parts whose matrices Muon trains."""

Ids = tuple[list[int], list[int]]
"""Token ids of a prompt and of its reply."""
Batch = TypeVar("Batch")


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of training on one mixture; the rate falls from `rate` to `end_rate` times the full one."""

    steps: int
    mixture: Mixture
    rate: float = 1.0
    end_rate: float = 0.0


def train(
    model: PreTrainedModel,
    batches: Iterator[Batch],
    loss_of: Callable[[Batch], Tensor],
    stage: Stage,
    log: Callable[[str], None],
) -> None:
    """Trains the model in place through one stage."""
    optimizers = _optimizers(model)
    losses: list[float] = []
    for step, batch in zip(range(stage.steps), batches, strict=False):
        _set_rate(optimizers, stage, step)
        loss = loss_of(batch)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.item())
        if len(losses) == LOG_EVERY:
            log(f"step {step + 1:4d}  loss {sum(losses) / LOG_EVERY:.4f}")
            losses.clear()


def _optimizers(model: PreTrainedModel) -> list[torch.optim.Optimizer]:
    parameters = dict(model.named_parameters())
    inside = {name for name, p in parameters.items() if p.ndim == 2 and any(part in name for part in INSIDE)}
    return [
        torch.optim.Muon([p for name, p in parameters.items() if name in inside], lr=MUON_RATE, weight_decay=0.0),
        torch.optim.AdamW([p for name, p in parameters.items() if name not in inside], lr=ADAMW_RATE,
                          betas=(0.9, 0.95), weight_decay=0.0),
    ]


def _set_rate(optimizers: list[torch.optim.Optimizer], stage: Stage, step: int) -> None:
    cosine = 0.5 * (1 + math.cos(math.pi * step / stage.steps))
    factor = stage.end_rate + (stage.rate - stage.end_rate) * cosine
    factor *= min(1.0, (step + 1) / WARMUP_STEPS)
    for optimizer, full in zip(optimizers, (MUON_RATE, ADAMW_RATE), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = full * factor


def buckets(
    subject: Subject[Any],
    mixture: Mixture,
    encode: Callable[[list[Demonstration[Any]]], list[Ids]],
    rng: random.Random,
) -> Iterator[list[tuple[Demonstration[Any], Ids]]]:
    """Demonstrations of similar length, BATCH at a time, endlessly."""
    while True:
        examples = [subject.demonstrate(mixture, rng) for _ in range(BATCH * BUCKETS)]
        rows = sorted(zip(examples, encode(examples), strict=True), key=lambda row: len(row[1][0]) + len(row[1][1]))
        found = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
        rng.shuffle(found)
        yield from found


def ids(tokenizer: PreTrainedTokenizerFast, prompts: list[str], replies: list[str]) -> list[Ids]:
    """Token ids of what the model reads and is to answer, the end of the reply included."""
    encode = tokenizer.backend_tokenizer.encode_batch
    ended = [reply + str(tokenizer.eos_token) for reply in replies]
    return [(prompt.ids, reply.ids) for prompt, reply in zip(encode(prompts), encode(ended), strict=True)]


def padded(pairs: list[Ids], pad: int) -> tuple[Tensor, Tensor]:
    """Token ids and labels, [N, T] each; labels are IGNORED outside the replies."""
    length = max(len(prompt) + len(reply) for prompt, reply in pairs)
    ids_BT = torch.full((len(pairs), length), pad)
    labels_BT = torch.full((len(pairs), length), IGNORED)
    for row, (prompt, reply) in enumerate(pairs):
        end = len(prompt) + len(reply)
        ids_BT[row, :end] = torch.tensor(prompt + reply)
        labels_BT[row, len(prompt) : end] = torch.tensor(reply)
    return ids_BT, labels_BT


def imitation_loss(model: Any, hidden_BTD: Tensor, labels_BT: Tensor) -> Tensor:
    """Mean cross-entropy of the reply tokens; `hidden_BTD` lacks the last position."""
    chosen = labels_BT[:, 1:] != IGNORED
    logits_NV = model.lm_head(hidden_BTD[chosen])
    return torch.nn.functional.cross_entropy(logits_NV.float(), labels_BT[:, 1:][chosen])
