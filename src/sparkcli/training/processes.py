"""The processes that share a step: who computes what, and what is summed up between them.

Whole parts are dealt out, so a group's prompt is still computed once, and each sample has its weight in the update
beforehand: the sum of what the processes find is what one process would have found.

Two ways, by accelerate's configuration of the processes:

- copies (the default): each process has all weights and computes at its own pace; gradients are summed once per update.
  That is DDP's result without its hooks in the backward pass, so processes need not agree on a number of micro-batches
  and one may repeat a micro-batch (memory ran out) without telling the others.
- shards (FSDP2, arXiv 2304.11277): each layer's weights, gradients and optimiser state are cut, and put together while
  the layer computes. Every pass is then common work: who has no micro-batch left repeats a small one at weight 0.

Alone, nothing here costs anything, and torch.distributed is not initialised.
"""

import heapq
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, distributed
from transformers import AutoConfig

from sparkcli.config import ModelConfig
from sparkcli.errors import SparkError, UsageError
from sparkcli.models.locate import model_folder
from sparkcli.models.memory import is_out_of_memory
from sparkcli.training import shards
from sparkcli.training.batches import MicroBatch, Part, micro_batches
from sparkcli.training.forward import Scorer
from sparkcli.training.memory import Budget
from sparkcli.training.optimizer import Optimizer

T = TypeVar("T")
BUCKET = 1 << 26
"""Numbers of gradient that are summed in one message: 256 MiB."""
PARTING_SECONDS = 0.2
"""Time for the threads of gloo to let go of what they sent."""


class Processes:
    """This process among those that train together.

    Args:
        rank: number of this process; 0 speaks and writes.
        count: number of them all.
        device: where this one computes; None: wherever the policy is.
        plugin: accelerate's FSDP settings; None: copies.
    """

    def __init__(self, rank: int = 0, count: int = 1, device: torch.device | None = None, plugin: Any = None) -> None:
        self.rank, self.count, self.device, self._plugin = rank, count, device, plugin

    @classmethod
    def join(cls, device: str = "auto", *, shard: bool = False) -> Self:
        """Meets the other processes that a launcher started (`RANK`, `LOCAL_RANK`, `WORLD_SIZE`); alone without any.

        Args:
            device: as `ModelConfig.device`; `auto` and `cuda` are the GPU of this process's `LOCAL_RANK`.
            shard: cut weights even if accelerate's configuration says nothing of it.

        Raises:
            UsageError: accelerate is configured for what is not supported here; all processes on one GPU; nothing to
                cut weights over.
        """
        if not {"RANK", "LOCAL_RANK"} <= os.environ.keys() or int(os.environ.get("WORLD_SIZE", "1")) == 1:
            if shard:
                raise UsageError("--shard cuts weights over several processes; give --num-processes")
            return cls()
        if ":" in device:
            raise UsageError(f"--device {device}: each process takes a GPU of its own; give cuda, cpu or auto, and "
                             "choose GPUs by CUDA_VISIBLE_DEVICES")
        plugin = shards.settings(wanted=shard)
        from accelerate import PartialState

        state = PartialState(cpu=device == "cpu" or not torch.cuda.is_available())
        return cls(state.process_index, state.num_processes, state.device, plugin)

    def leave(self) -> None:
        """Parts from the others, at the end of the work."""
        if self.count > 1:
            distributed.destroy_process_group()
            # gloo's threads let go of tensors after the work is done, for which they need the interpreter; one that
            # comes when it is closing aborts the process. What was cut keeps the threads alive: torch caches its mesh.
            time.sleep(PARTING_SECONDS)

    @property
    def sharded(self) -> bool:
        """Whether weights are cut, so that each pass through the network is common work."""
        return self._plugin is not None

    def placed(self, model: ModelConfig) -> ModelConfig:
        """The settings to load the policy with: onto this process's device; where it will be cut, whole onto the CPU,
        since a GPU may not hold it, and in the precision that it would have had there."""
        if self.device is None:
            return model
        if not self.sharded or self.device.type == "cpu":
            return replace(model, device=str(self.device))
        dtype: Any = model.dtype
        if dtype == "auto":
            folder = model_folder(model.name)
            dtype = AutoConfig.from_pretrained(folder, trust_remote_code=model.trust_remote_code).dtype or torch.float32
        settings: dict[str, Any] = {"device": "cpu", "dtype": str(dtype).removeprefix("torch.")}
        return replace(model, **settings)

    def prepare(self, scorer: Scorer) -> Scorer:
        """The scorer as all processes run it; cut in place where weights are sharded, which makes new parameters.

        Afterwards everything that touches weights must go through the scorer's own call.

        Raises:
            UsageError: quantised weights are to be cut.
        """
        if self.sharded and self.device is not None:
            shards.cut(scorer, self._plugin, self.device, self.count)
        return scorer

    def put_away(self, scorer: Scorer) -> None:
        """To be called after passes without a backward pass; see `shards.put_away`."""
        if self.sharded:
            shards.put_away(scorer)

    def share(self, parts: Sequence[Part]) -> list[list[Part]]:
        """The parts of each process, whole, in the order given; all processes find the same shares.

        The heaviest first, each to the process with the least so far: no share is larger than 4/3 of the smallest
        possible largest one (Graham 1969). Weight: tokens to compute.
        """
        if self.count == 1:
            return [list(parts)]
        weights = [len(part[0].prompt_T) + sum(len(sample.completion_T) for sample in part) for part in parts]
        loads = [(0, rank) for rank in range(self.count)]
        owners = [0] * len(parts)
        for place in sorted(range(len(parts)), key=lambda place: -weights[place]):
            load, owners[place] = loads[0]
            heapq.heapreplace(loads, (load + weights[place], owners[place]))
        return [[part for part, owner in zip(parts, owners, strict=True) if owner == rank]
                for rank in range(self.count)]

    def rounds(self, batches: Sequence[Sequence[MicroBatch]]) -> Iterator[tuple[MicroBatch, bool]]:
        """What this process runs, and whether it counts: its own micro-batches, then, where passes are common work,
        idle ones until every process has had its own. `batches`: those of each process."""
        yield from ((batch, True) for batch in batches[self.rank])
        if self.sharded:
            idle = max(map(len, batches)) - len(batches[self.rank])
            samples = [sample for batch in itertools.chain.from_iterable(batches) for sample in batch.samples]
            smallest = min(samples, key=lambda sample: len(sample.prompt_T) + len(sample.completion_T), default=None)
            if smallest is not None:
                yield from itertools.repeat((MicroBatch([[smallest]]), False), idle)

    def spend(self, budget: Budget, parts: Sequence[Part], compute: Callable[[MicroBatch, bool], T],
              undo: Callable[[], None] = lambda: None) -> list[tuple[MicroBatch, T]]:
        """As `Budget.spend`, of this process's share of `parts`; `compute` is also told whether the micro-batch counts.

        Raises:
            SparkError: memory ran out where nothing can be repeated, because passes are common work.
        """
        if not self.sharded:
            return budget.spend(self.share(parts)[self.rank], lambda batch: (batch, compute(batch, True)), undo)
        batches = [micro_batches(share, budget.tokens, budget.way) for share in self.share(parts)]
        try:
            done = [(batch, compute(batch, counts), counts) for batch, counts in self.rounds(batches)]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise SparkError(f"process {self.rank}: out of memory in a forward pass of at most {budget.tokens} tokens; "
                             "lower --tokens-per-batch, or try --gradient-checkpointing") from None
        return [(batch, result) for batch, result, counts in done if counts]

    def batches(self, budget: Budget, parts: Sequence[Part], done: Sequence[tuple[MicroBatch, T]]) -> list[MicroBatch]:
        """The micro-batches of all processes, of which this one has `done` some; the others' as its own budget cuts
        them."""
        if self.count == 1:
            return [batch for batch, _ in done]
        return [batch for share in self.share(parts) for batch in micro_batches(share, budget.tokens, budget.way)]

    def exchanged(self, parts: Sequence[Part], found: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Each sample's row `[T]` by the sample's `id()`, from whichever process computed it."""
        if self.count == 1:
            return dict(found)
        shares = [[sample for part in share for sample in part] for share in self.share(parts)]
        own = [found[id(sample)] for sample in shares[self.rank]]
        everything = self.joined(torch.cat(own) if own else torch.zeros(0))
        samples = list(itertools.chain.from_iterable(shares))
        pieces = everything.split([len(sample.completion_T) for sample in samples])
        return {id(sample): piece for sample, piece in zip(samples, pieces, strict=True)}

    def sum_gradients(self, optimizer: Optimizer) -> None:
        """Makes each gradient the sum over all processes, in float32; shards have summed theirs in the backward pass.

        A parameter that has a gradient in any process gets one in each.
        """
        if self.count == 1 or self.sharded:
            return
        found = optimizer.gradients()
        has = self.total(torch.tensor([float(name in found) for name in optimizer.parameters])).tolist()
        for (name, parameter), anywhere in zip(optimizer.parameters.items(), has, strict=True):
            if anywhere and name not in found:
                parameter.grad = torch.zeros_like(parameter)
        gradients = optimizer.gradients()
        for bucket in _buckets([gradients[name] for name in optimizer.parameters if name in gradients]):
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            distributed.all_reduce(flat)
            sizes = [gradient.numel() for gradient in bucket]
            torch._foreach_copy_(bucket, [piece.view_as(gradient) for gradient, piece
                                          in zip(bucket, flat.split(sizes), strict=True)])

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes of a tensor of one shape; on the CPU."""
        return self._reduced(values, distributed.ReduceOp.SUM)

    def largest(self, values: Tensor) -> Tensor:
        """The largest over all processes, element by element; on the CPU."""
        return self._reduced(values, distributed.ReduceOp.MAX)

    def anywhere(self, fact: bool) -> bool:
        """Whether it is so in any process."""
        return fact if self.count == 1 else bool(self.largest(torch.tensor([float(fact)])))

    def joined(self, rows: Tensor) -> Tensor:
        """The rows of all processes, one after the other, in each of them; on the CPU."""
        if self.count == 1:
            return rows.cpu()
        counts = torch.zeros(self.count, dtype=torch.long)
        counts[self.rank] = len(rows)
        ends = self.total(counts).cumsum(0).tolist()
        whole = torch.zeros((ends[-1], *rows.shape[1:]), dtype=rows.dtype)
        whole[ends[self.rank] - len(rows):ends[self.rank]] = rows
        return self.total(whole)

    def gathered(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Where weights are sharded, whole tensors on the CPU in process 0, none in the others; else what was given."""
        if not self.sharded:
            return dict(tensors)
        from torch.distributed.tensor import DTensor

        whole: dict[str, Tensor] = {}
        for name, tensor in tensors.items():  # one at a time: a process need not hold them all on its GPU
            found = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
            if self.rank == 0:
                whole[name] = found.detach().cpu()
        return whole

    def _reduced(self, values: Tensor, operation: Any) -> Tensor:
        if self.count == 1:
            return values.cpu()
        moved = values.detach().to(self.device, copy=True)
        distributed.all_reduce(moved, op=operation)
        return moved.cpu()


ALONE = Processes()


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours, as many as one message takes; a larger tensor goes alone."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and sum(t.numel() for t in bucket) + tensor.numel() > BUCKET:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
