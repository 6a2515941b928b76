"""Which layers of a network get an adapter.

By default all linear layers of the language model but the head and

* in a mixture of experts, the feed-forward layers: experts, which transformers holds as one tensor for all of them;
  routers, whose choice is a step function of their weights; and every layer named like an expert's, since PEFT takes
  such a name for the experts' tensors in some families and not in others. A warning tells the experts' share;
* layers whose weight the code of their module reads by itself (`self.dt_proj.weight @ x`, as state-space layers do,
  some on GPUs alone) instead of calling the layer: an adapter on one would change nothing, without a word;
* layers of a family's own class that compute something else than a product, e.g. one for each group of features;
* layers that have one weight together: an adapter on each could not be merged into it.
"""

import functools
import inspect
import logging
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import torch
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from sparkcli.config import TrainConfig
from sparkcli.errors import UsageError, nearest
from sparkcli.models.tower import language_modules

ALL_LINEAR = "all-linear"
"""PEFT's word for every linear layer but the head."""

_GATE = re.compile(r"gate|gating|\w+_gate")
_OF_EXPERTS = re.compile(r"gate|(?:gate|up|down)_proj|w[123]")
"""Layers of experts, in checkpoints that hold each expert by itself."""
_READ_WEIGHT = re.compile(r"self\.(\w+)\.weight\b(?!\.(?:dtype|device|shape)|\[)")

log = logging.getLogger(__name__)


def target_names(config: TrainConfig) -> list[str]:
    """`lora_targets` one by one, sorted; several may stand in one string, between commas."""
    return sorted({target.strip() for targets in config.lora_targets for target in targets.split(",")})


def target_modules(model: PreTrainedModel, config: TrainConfig) -> str | list[str]:
    """The layers of a new adapter, as PEFT takes them: by full name where some stay out that its own reading of
    `lora_targets` would take in.

    Raises:
        UsageError: `lora_targets` names what is no layer of the model, or none that can have an adapter.
    """
    targets = target_names(config)
    layers, linear = adapted_layers(model, config), _linear_layers(model)
    if targets == [ALL_LINEAR]:
        is_whole = layers == {name for name in linear if not _is_head(model, name)} and not _expert_parameters(model)
        return ALL_LINEAR if is_whole else sorted(layers)
    return targets if layers == {name for name in linear if _ends_in(name, targets)} else sorted(layers)


def adapted_layers(model: PreTrainedModel, config: TrainConfig) -> set[str]:
    """Names of the layers that a new adapter lies on: the default of the module, or those whose names end in a target;
    what reads images only with `train_vision`.

    Raises:
        UsageError: see `target_modules`.
    """
    targets = target_names(config)
    chosen = _default_layers(model) if targets == [ALL_LINEAR] else _named_layers(model, targets)
    language = language_modules(model)
    allowed = {name for name in chosen if config.train_vision or model.get_submodule(name) in language}
    if chosen and not allowed:
        raise UsageError(f"train: lora_targets: {min(chosen)!r} reads images, which stays frozen; name layers of the "
                         "language model, or give --train-vision")
    if not allowed:
        raise UsageError(f"train: lora_targets: {model.config.model_type} has no linear layer that can have an "
                         "adapter; try --method full")
    return allowed


def check_attached(model: PreTrainedModel, config: TrainConfig) -> None:
    """Returns where PEFT has put an adapter on the layers of `adapted_layers` and on nothing else; says which share of
    the weights are experts without one.

    Raises:
        UsageError: a target's name is taken for the tensors of experts.
    """
    has_on = {name for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    if others := sorted(has_on - adapted_layers(model, config)):
        raise UsageError(f"train: lora_targets: in {model.config.model_type} these names stand for experts too "
                         f"({others[0]}), which get no adapter; name layers of attention, e.g. q_proj,v_proj, or try "
                         "--method full")
    if experts := _expert_parameters(model):
        total = sum(parameter.numel() for parameter in model.parameters())
        log.warning("%s: a mixture of experts; they are %.0f %% of the weights, and they, their routers and layers "
                    "named like theirs get no adapter; --method full trains them", model.config.model_type,
                    100 * sum(parameter.numel() for parameter in experts) / total)


def _expert_parameters(model: PreTrainedModel) -> list[torch.nn.Parameter]:
    """The weights that hold a matrix for each expert: those of three axes that are no convolution's."""
    return [parameter for module in model.modules() if not isinstance(module, torch.nn.modules.conv._ConvNd)
            for parameter in module.parameters(recurse=False) if parameter.ndim == 3 and len(parameter) > 1]


def _default_layers(model: PreTrainedModel) -> set[str]:
    has_experts = bool(_expert_parameters(model))

    def is_of_mixture(name: str) -> bool:
        return _is_router(model, name) or bool(has_experts and _OF_EXPERTS.fullmatch(name.rpartition(".")[2]))

    linear = _linear_layers(model)
    return {name for name in linear if not _is_head(model, name) and not is_of_mixture(name)
            and not _is_bypassed(model, name) and not _is_own(linear[name])} - _tied(linear)


def _named_layers(model: PreTrainedModel, targets: list[str]) -> set[str]:
    linear = _linear_layers(model)
    is_tied = _head(model) is not None and _head(model).weight is cast(Any, model.get_input_embeddings()).weight
    for target in targets:
        fitting = {name for name, _ in model.named_modules() if _ends_in(name, [target])}
        fitting |= {name for name, _ in model.named_parameters() if _ends_in(name, [target])}
        if not fitting:
            known = {name.rsplit(".", 1)[-1] for name in linear}
            raise UsageError(f"train: lora_targets: no layer is named {target!r}{nearest(target, known)}")
        if other := sorted(fitting - linear.keys()):
            raise UsageError(f"train: lora_targets: {target!r} fits {other[0]!r}, which is no linear layer; name "
                             "linear layers, e.g. q_proj,v_proj")
        if is_tied and any(_is_head(model, name) for name in fitting):
            raise UsageError(f"train: lora_targets: {target!r} is the head, which shares its weights with the "
                             "embeddings in this model; leave it out")
        if bypassed := sorted(name for name in fitting if _is_bypassed(model, name)):
            raise UsageError(f"train: lora_targets: {target!r} fits {bypassed[0]!r}, whose weight the model reads past "
                             "the layer, so that an adapter there does nothing; leave it out, or try --method full")
        if own := sorted(name for name in fitting if _is_own(linear[name])):
            raise UsageError(f"train: lora_targets: {target!r} fits {own[0]!r}, which computes something of its own, "
                             "so that no adapter fits; leave it out, or try --method full")
        if tied := sorted(fitting & _tied(linear)):
            raise UsageError(f"train: lora_targets: {target!r} fits {tied[0]!r}, whose weight other layers have too, "
                             "so that adapters on them could not be merged; leave it out, or try --method full")
    return {name for name in linear if _ends_in(name, targets)}


def _ends_in(name: str, targets: list[str]) -> bool:
    return any(name == target or name.endswith(f".{target}") for target in targets)


def _head(model: PreTrainedModel) -> Any:
    return model.get_output_embeddings()


def _is_head(model: PreTrainedModel, name: str) -> bool:
    return model.get_submodule(name) is _head(model)


def _is_router(model: PreTrainedModel, name: str) -> bool:
    """Whether a layer chooses or weighs experts: it belongs to a router, or to a gate that stands beside experts."""
    *path, leaf = name.split(".")
    if "router" in (*path, leaf):
        return True
    return any(_GATE.fullmatch(child) and hasattr(model.get_submodule(".".join(block)), "experts")
               for block, child in _blocks(name))


def _blocks(name: str) -> Iterator[tuple[list[str], str]]:
    """Each module around a layer, and its child on the way to the layer."""
    parts = name.split(".")
    return ((parts[:i], parts[i]) for i in range(len(parts)))


def _tied(linear: dict[str, Any]) -> set[str]:
    """Names of the layers whose weight another one has too."""
    owners = Counter(id(module.weight) for module in linear.values())
    return {name for name, module in linear.items() if owners[id(module.weight)] > 1}


@torch.no_grad()
def _is_own(layer: Any) -> bool:
    """Whether a linear layer of a family's own class is no product of rows with a matrix, by what shapes it takes and
    gives."""
    base: Any = layer.get_base_layer() if isinstance(layer, LoraLayer) else layer
    if not type(base).__module__.startswith(("transformers.models.", "transformers_modules.")):
        return False
    try:
        given = base(base.weight.new_zeros(3, base.in_features))
    except (RuntimeError, TypeError, ValueError, IndexError):
        return True
    return not isinstance(given, torch.Tensor) or given.shape != (3, base.out_features)


def _is_bypassed(model: PreTrainedModel, name: str) -> bool:
    """Whether the module that holds a layer reads the layer's weight by itself."""
    owner, _, leaf = name.rpartition(".")
    kind: Any = type(model.get_submodule(owner))
    return leaf in _read_weights(kind)


@functools.cache
def _read_weights(kind: type) -> frozenset[str]:
    """Names of the layers whose weights the code of a class of modules reads, other than to ask for their type.

    Of generated classes without source, none are known.
    """
    try:
        return frozenset(_READ_WEIGHT.findall(inspect.getsource(kind)))
    except (OSError, TypeError):
        return frozenset()


def _linear_layers(model: PreTrainedModel) -> dict[str, Any]:
    """The model's own linear layers by name, whether an adapter lies on them or not."""
    adapted = tuple(f"{name}." for name, module in model.named_modules() if isinstance(module, LoraLayer))
    return {name: module for name, module in model.named_modules()
            if isinstance(module, (torch.nn.Linear, Conv1D, LoraLayer)) and not name.startswith(adapted)}
