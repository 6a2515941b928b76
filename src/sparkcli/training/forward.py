"""What an update asks of the network: log-probabilities and entropies of a micro-batch's completions.

Three passes give the same numbers. `packed_hidden` is the fastest; a network whose attention cannot be plugged in
shares the prompts' keys and values; one that keeps something else computes each sample whole. Which of them are right
for a network depends on its code, so they are tried on it.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from sparkcli.errors import UsageError
from sparkcli.models.agreement import agrees, probe
from sparkcli.models.head import Entropy, chosen_logprobs, head_parameters
from sparkcli.models.memory import is_out_of_memory
from sparkcli.models.prefix import (
    Completions,
    Prompts,
    naive_hidden,
    network_of,
    new_cache,
    sent,
    shared_hidden,
    spread,
)
from sparkcli.models.sight import Placed, text
from sparkcli.models.tower import vision_parameters
from sparkcli.training.batches import MicroBatch, Way
from sparkcli.training.packed import fits, packed_hidden, packing
from sparkcli.training.samples import Sample

log = logging.getLogger(__name__)

HIDDEN: dict[Way, Callable[[Any, Prompts, Completions], Tensor]] = {
    "packed": packed_hidden, "shared": shared_hidden, "unshared": naive_hidden}
"""`(model, prompts_P, completions_by_group) -> hidden_KD`: the network's output before each completion token."""


Place = Callable[[Sample], Placed]
"""A sample's prompt as the network runs it."""


def blind(sample: Sample) -> Placed:
    """The prompt of a sample without images."""
    return text(sample.prompt_T)


@dataclass(frozen=True, slots=True)
class Scores:
    """What a policy says of a micro-batch's completions, a row for each sample, padded on the right."""

    logprobs_BT: Tensor
    """Of the tokens, at each sample's own temperature, in float32; 0 at padding."""
    entropy_BT: Tensor | None
    """Of the distributions that the tokens were drawn from, in nats; None if it was not asked for."""
    mask_BT: Tensor
    """True at tokens."""


class Scorer(nn.Module):
    """A model as one module that scores micro-batches, so that DDP and FSDP can wrap all that touches its weights.

    Args:
        model: a PreTrainedModel, or a PEFT model around it.
        network: the Hugging Face model in it.
        checkpointing: whether layers recompute their activations in updates.
        way: how to run; None: the fastest way that the network allows.
        place: gives prompts and their images.
    """

    def __init__(self, model: Any, network: PreTrainedModel, checkpointing: bool, way: Way | None = None,
                 place: Place = blind) -> None:
        super().__init__()
        self.model, self.checkpointing, self.place = model, checkpointing, place
        self.way: Way = way or choose(network, checkpointing)

    def on(self, model: Any) -> "Scorer":
        """One that runs another model of the same architecture, e.g. the reference, the same way."""
        return Scorer(model, network_of(model), self.checkpointing, self.way, self.place)

    def running(self) -> contextlib.AbstractContextManager[None]:
        """What the model must be in for forward and backward passes."""
        return packing(network_of(self.model)) if self.way == "packed" else contextlib.nullcontext()

    @contextlib.contextmanager
    def updating(self) -> Iterator[None]:
        """`running`, and what only updates do: layers recompute, an adapter's dropout is on.

        Raises:
            UsageError: the architecture cannot recompute.
        """
        with self.running(), recomputing(network_of(self.model), self.checkpointing), dropping(self.model):
            yield

    def forward(self, batch: MicroBatch, entropy: Entropy = "value") -> Scores:
        """Scores of the samples, in order; gradients flow where they are enabled."""
        network = network_of(self.model)
        samples_B = batch.samples
        completions_B = [sample.completion_T for sample in samples_B]
        lengths_B = [len(row) for row in completions_B]
        hidden_KD = HIDDEN[self.way](self.model, [self.place(part[0]) for part in batch.parts],
                                     [[sample.completion_T for sample in part] for part in batch.parts])
        hidden_KD = touched(network, hidden_KD)
        ids_K = sent([token for row in completions_B for token in row], hidden_KD.device)
        logprobs_K, entropy_K = chosen_logprobs(network, hidden_KD, ids_K, temperatures(samples_B, hidden_KD.device),
                                                entropy=entropy)
        lengths_B1 = sent(lengths_B, hidden_KD.device)[:, None]
        mask_BT = torch.arange(max(lengths_B), device=hidden_KD.device) < lengths_B1
        entropy_BT = None if entropy_K is None else spread(entropy_K, lengths_B)
        return Scores(spread(logprobs_K, lengths_B), entropy_BT, mask_BT)


def touched(network: PreTrainedModel, hidden_KD: Tensor) -> Tensor:
    """The same numbers, with a gradient of 0 to every weight of the vision tower that is trained.

    So each has a gradient in each pass, whether there are images in it or not: processes that share the weights wait
    for each other's.
    """
    if not torch.is_grad_enabled():
        return hidden_KD
    none = [parameter.flatten()[:0].sum() for parameter in vision_parameters(network).values()
            if parameter.requires_grad]
    return hidden_KD + torch.stack(none).sum().to(hidden_KD.dtype) if none else hidden_KD


def temperatures(samples_B: Sequence[Sample], device: torch.device) -> float | Tensor:
    """One number where all samples agree, else one for each token `[K]`."""
    if len({sample.temperature for sample in samples_B}) == 1:
        return samples_B[0].temperature
    return sent([sample.temperature for sample in samples_B for _ in sample.completion_T], device, torch.float32)


def choose(network: PreTrainedModel, checkpointing: bool, *, tried: bool = True) -> Way:
    """The fastest pass that gives the network's own numbers; says on the log where prompts are not shared.

    Args:
        tried: whether passes are tried; of a network without numbers, what it is made of has to do.

    Raises:
        UsageError: no pass does.
    """
    shared = shares(network)
    possible: dict[Way, bool] = {"packed": shared and fits(network), "shared": shared and not checkpointing,
                                 "unshared": True}
    name = network.config.model_type
    for way, is_possible in possible.items():
        fault = what_is_wrong(network, way) if is_possible and tried else None
        if is_possible and fault is None:
            break
    else:
        raise UsageError(f"{name}: cannot be trained exactly: {fault}; take another model")
    if way == "unshared":
        log.warning("%s: %s; each sample's prompt is computed apart", name,
                    "gradient checkpointing leaves no keys and values" if shared and checkpointing
                    else "not a model whose prompts can be shared")
    return way


def shares(network: PreTrainedModel) -> bool:
    """Whether the network keeps keys and values of all tokens, and nothing else."""
    try:
        new_cache(network)
    except UsageError:
        return False
    return True


def what_is_wrong(network: PreTrainedModel, way: Way) -> str | None:
    """Why a pass does not do for a network; None where it gives the network's own numbers, and gradients to what is
    trained."""
    def run(*given: Any) -> Tensor:
        with packing(network) if way == "packed" else contextlib.nullcontext():
            return HIDDEN[way](*given)

    apart = {id(parameter) for parameter in (*head_parameters(network), *vision_parameters(network).values())}
    learns = any(parameter.requires_grad and id(parameter) not in apart for parameter in network.parameters())
    try:
        if not agrees(network, run):
            return "what stands after a token, or in other rows, changes what it says there"
        if learns and not run(network, *probe(network)).requires_grad:
            return "no gradient reaches its weights"
    except Exception as error:  # whatever a network's code says to a pass that it was not made for
        if is_out_of_memory(error):
            raise
        return f"it fails ({' '.join(str(error).split())[:120]})"
    return None


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
    verb = "activation" if hasattr(network, "activation_checkpointing_enable") else "gradient"  # the older name
    getattr(network, f"{verb}_checkpointing_enable")({"use_reentrant": False})
    try:
        for layer in layers:
            layer.training = True
        yield
    finally:
        for layer in layers:
            layer.training = False
        getattr(network, f"{verb}_checkpointing_disable")()


@contextlib.contextmanager
def dropping(model: Any) -> Iterator[None]:
    """Within it, the dropout of a LoRA adapter is on, and no other: for the updates, not for what they compare with.

    Its masks come from torch's global generator; layers that are recomputed see the same masks again.
    """
    dropouts = [module for name, module in model.named_modules() if ".lora_dropout." in name]
    try:
        for module in dropouts:
            module.training = True
        yield
    finally:
        for module in dropouts:
            module.training = False
