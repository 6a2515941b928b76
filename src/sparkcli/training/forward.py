"""Log-probabilities of a micro-batch's completions, by the fastest of three passes that give the same numbers."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from sparkcli.errors import UsageError
from sparkcli.models.prefix import completion_logprobs, naive_logprobs
from sparkcli.training.batches import MicroBatch
from sparkcli.training.packed import packed_logprobs, packing, packs

log = logging.getLogger(__name__)

Forward = Callable[[Any, MicroBatch], tuple[Tensor, Tensor]]
"""`(model, batch) -> (logprobs_BT, mask_BT)`, at each sample's own temperature."""


def packed(model: Any, batch: MicroBatch) -> tuple[Tensor, Tensor]:
    """Each part's prompt goes through the network once, and no padding does."""
    return packed_logprobs(model, *rows(batch), temperatures(batch))


def shared(model: Any, batch: MicroBatch) -> tuple[Tensor, Tensor]:
    """Each part's prompt goes through the network once."""
    return completion_logprobs(model, *rows(batch), temperatures(batch))


def unshared(model: Any, batch: MicroBatch) -> tuple[Tensor, Tensor]:
    """Each sample brings its own copy of the prompt: the same numbers, more work."""
    return naive_logprobs(model, *rows(batch), temperatures(batch))


def rows(batch: MicroBatch) -> tuple[list[tuple[int, ...]], list[list[tuple[int, ...]]]]:
    """A batch's prompts, and the completions of each."""
    return [part[0].prompt_T for part in batch.parts], [[s.completion_T for s in part] for part in batch.parts]


def temperatures(batch: MicroBatch) -> float | Tensor:
    """One number where all samples agree, else a tensor `[B]`."""
    values_B = [sample.temperature for sample in batch.samples]
    return values_B[0] if len(set(values_B)) == 1 else torch.tensor(values_B)


def choose(network: PreTrainedModel, checkpointing: bool) -> Forward:
    """The fastest pass that the network and the settings allow; says on the log where prompts are not shared."""
    try:
        if packs(network):
            return packed
    except UsageError as error:
        log.warning("%s; each sample's prompt is computed apart", error)
        return unshared
    if checkpointing:
        log.warning("%s: gradient checkpointing leaves no keys and values; each sample's prompt is computed apart",
                    network.config.model_type)
        return unshared
    return shared


def running(network: PreTrainedModel, forward: Forward) -> contextlib.AbstractContextManager[None]:
    """What the network must be in for `forward` and its backward pass."""
    return packing(network) if forward is packed else contextlib.nullcontext()


@contextlib.contextmanager
def recomputing(network: PreTrainedModel, wanted: bool) -> Iterator[None]:
    """Within it, layers recompute their activations in the backward pass, if `wanted`.

    Only the layers that checkpoint are put into training mode, not what is inside them: dropout stays off, as it was
    when the samples were drawn.

    Raises:
        UsageError: the architecture does not support it.
    """
    if not wanted:
        yield
        return
    if not network.supports_gradient_checkpointing:
        raise UsageError(f"{network.config.model_type}: has no gradient checkpointing; train without it and with fewer "
                         "tokens_per_batch")
    layers = [module for module in network.modules() if isinstance(module, GradientCheckpointingLayer)]
    network.activation_checkpointing_enable({"use_reentrant": False})
    try:
        for layer in layers:
            layer.training = True
        yield
    finally:
        for layer in layers:
            layer.training = False
        network.activation_checkpointing_disable()
