"""How much memory updates take, found by running them without numbers.

On torch's fake tensors, which have shapes, types and storages but no data, runs what updates run: the same forward and
backward passes, the same optimiser. After each operation the storages that are alive are added up. No weights are read,
and a model of seven billion takes seconds.

Not counted: what a kernel needs for itself while it runs, an allocator's fragmentation, Python and its libraries. NF4
weights are counted by their number: half a byte, a byte of scale for every 64, and the largest layer once in the type
that is computed in.

A vision tower asks for numbers on its way (the sizes of images), so prompts run as if their image tokens were words.
Where the tower is trained, its activations are taken to be those of `PATCH_COST` tokens a patch; where it is frozen, it
counts by its weights alone. Pixels are not counted.
"""

import contextlib
import logging
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.nn import Linear
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sparkcli.config import TrainConfig
from sparkcli.models.policy import Policy
from sparkcli.training.batches import PATCH_COST, MicroBatch, Way, patches
from sparkcli.training.forward import Scorer
from sparkcli.training.optimizer import Optimizer
from sparkcli.training.outline import embody

Kind = Literal["weights", "reference", "gradients", "optimizer", "activations", "temporaries"]
"""reference: the frozen copy of the base that stands beside full weights that have moved; activations: made on the way
forward; temporaries: on the way back."""

NF4_BYTES = 0.5 + 1 / 64


class Tracker(TorchDispatchMode):
    """Adds up the storages on one kind of device that operations within it make, and notes the most there ever was."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.kind: Kind = "activations"
        self.alive: Counter[Kind] = Counter()
        self.peak: Counter[Kind] = Counter()
        self._device = device.type
        self._held: dict[int, tuple[Any, int, Kind]] = {}
        """By a storage's address while it lives: the reference that tells when it dies, its bytes, its kind."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self.hold(tensor, self.kind)
        return result

    def hold(self, tensor: Tensor, kind: Kind, size: int | None = None) -> None:
        """Counts a tensor's storage as one of `kind`, if it is new; `size`: its bytes, where the storage lies."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if tensor.device.type == self._device and key not in self._held:
            size = self._blocks(storage.nbytes() if size is None else size)
            self._held[key] = weakref.ref(storage, lambda _: self._drop(key)), size, kind
            self.add(size, kind)

    def add(self, size: int, kind: Kind) -> None:
        """Counts bytes that no tensor stands for."""
        self.alive[kind] += size
        if self.alive.total() > self.peak.total():
            self.peak = self.alive.copy()

    def turn(self, tensor: Tensor, kind: Kind) -> None:
        """Makes a storage one of another kind."""
        key = tensor.untyped_storage()._cdata
        reference, size, before = self._held[key]
        self._held[key] = reference, size, kind
        self.alive[before] -= size
        self.alive[kind] += size

    def _drop(self, key: int) -> None:
        _, size, kind = self._held.pop(key)
        self.alive[kind] -= size

    def _blocks(self, size: int) -> int:
        """CUDA's allocator deals in blocks of 512 bytes."""
        return -(-size // 512) * 512 if self._device == "cuda" else size


def estimate(policy: Policy, config: TrainConfig, updates: Sequence[Sequence[MicroBatch]], way: Way) -> Counter[Kind]:
    """Bytes by kind at the moment when a phase's updates take most; one process, nothing sharded.

    Args:
        policy: an outline that `trainable` was called on; not to be used afterwards.
        updates: the micro-batches of each; the largest stand for all.

    Raises:
        RuntimeError: the network asks for numbers on its way.
    """
    with FakeTensorMode(), quiet("torch._subclasses.fake_tensor"):
        embody(policy.model, policy.device)
        tracker = Tracker(policy.device)
        hold_weights(tracker, policy, config)
        rehearse(tracker, policy, config, updates, way)
    return tracker.peak


@contextlib.contextmanager
def quiet(name: str) -> Iterator[None]:
    """Within it a logger says nothing: what it would say is raised as well."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def hold_weights(tracker: Tracker, policy: Policy, config: TrainConfig) -> None:
    """Counts the weights, and where there is one the reference, which on a GPU waits elsewhere during updates."""
    if policy.config.load_in_4bit:
        head = policy.network.get_output_embeddings()
        packed = [module.weight for module in policy.network.modules()
                  if isinstance(module, Linear) and module is not head and not module.weight.requires_grad]
        for weight in packed:
            tracker.hold(weight, "weights", int(weight.numel() * NF4_BYTES))
        tracker.add(max(weight.nbytes for weight in packed), "temporaries")
    for tensor in [*policy.model.parameters(), *policy.model.buffers()]:
        tracker.hold(tensor, "weights")
    if config.kl and policy.weights != policy.base_fingerprint and policy.device.type == "cpu":
        tracker.add(tracker.alive["weights"], "reference")


def rehearse(tracker: Tracker, policy: Policy, config: TrainConfig, updates: Sequence[Sequence[MicroBatch]],
             way: Way) -> None:
    """Two updates, or the only one: the second has the optimiser's state from its beginning, and any micro-batch but
    the first has gradients beside it."""
    scorer = Scorer(policy.model, policy.network, config.gradient_checkpointing, way)
    parameters = {name: parameter for name, parameter in policy.model.named_parameters() if parameter.requires_grad}
    for parameter in parameters.values():
        parameter.register_post_accumulate_grad_hook(lambda p: tracker.turn(p.grad, "gradients"))
    batches = largest(updates)
    with tracker, scorer.updating():
        tracker.kind = "optimizer"
        optimizer = Optimizer(parameters, config, policy.network.dtype)
        for number in range(min(2, len(updates))):
            for batch in batches:
                backward(tracker, scorer, optimizer, batch, config)
            tracker.kind = "gradients"
            gradients = optimizer.gradients()
            if number == 0:
                tracker.kind = "optimizer"
                optimizer.restore(moments(gradients), "the estimate")
            del gradients
            optimizer.zero_grad()


def largest(updates: Sequence[Sequence[MicroBatch]]) -> list[MicroBatch]:
    """The micro-batch of most tokens and the one of most padded places; one of them twice if an update has several."""
    batches = [batch for update in updates for batch in update]
    chosen = [max(batches, key=lambda batch: batch.tokens + PATCH_COST * patches(batch.parts, "packed")),
              max(batches, key=lambda batch: batch.padded)]
    several = max(map(len, updates)) > 1
    if chosen[0] is chosen[1]:
        return chosen if several else chosen[:1]
    return [*chosen, chosen[0]] if several else chosen


def backward(tracker: Tracker, scorer: Scorer, optimizer: Optimizer, batch: MicroBatch, config: TrainConfig) -> None:
    """A micro-batch forward and backward; the sum of its scores stands for the loss."""
    tracker.kind = "activations"
    before = tracker.alive["activations"]
    scores = scorer(batch, "gradient" if config.entropy_bonus else "value")
    share = PATCH_COST * patches(batch.parts, scorer.way) / batch.tokens
    of_vision = int(share * (tracker.alive["activations"] - before))
    tracker.add(of_vision, "activations")
    total = scores.logprobs_BT.sum()
    if config.entropy_bonus and scores.entropy_BT is not None:
        total = total + scores.entropy_BT.sum()
    tracker.kind = "gradients"
    total = optimizer.scale(total)
    tracker.kind = "temporaries"
    total.backward()
    tracker.add(-of_vision, "activations")


def moments(gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state of AdamW, as `Optimizer.restore` takes it."""
    return {f"{name}.{moment}": gradient.detach() if moment != "step" else torch.empty(())
            for name, gradient in gradients.items() for moment in ("step", "exp_avg", "exp_avg_sq")}
