"""A policy in memory: the network, how it reads, and which weights it has.

Loading, hot swap, saving and the KL reference. What is sampled and what is trained is one object; an engine that is
given the trainer's policy shares its memory.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import Parameter
from transformers import PreTrainedModel

from sparkcli.config import ModelConfig, TrainConfig
from sparkcli.errors import UsageError
from sparkcli.models.fingerprint import (
    OPTIMIZER_FILE,
    STATE_FILE,
    check_policy,
    is_adapter,
    is_plain_adapter,
    model_fingerprint,
    policy_fingerprint,
    read_json,
    recorded_base,
)
from sparkcli.models.folders import TOKENIZER, copy_companions, whole_directory, write_index, write_json
from sparkcli.models.locate import model_folder
from sparkcli.models.network import find_device, is_quantised, load_network, sees
from sparkcli.models.reader import Reader, load_reader
from sparkcli.models.tower import vision_parameters

transformers.utils.logging.disable_progress_bar()  # people are told about progress by the commands alone


@dataclass(eq=False)
class Policy:
    """A model that samples and can be trained."""

    model: Any
    """A PreTrainedModel in eval mode, or a PeftModel around it."""
    reader: Reader
    device: torch.device
    config: ModelConfig
    base_folder: Path
    base_fingerprint: str
    weights: str
    """Fingerprint of the weights under the adapter: the base's, or a full policy's."""
    fingerprint: str
    """What was loaded or saved last. Stands in rollouts, and as `parent` in the next policy."""
    directory: Path | None
    """Where that was loaded from or saved to; None: the bare model."""
    changed: bool = False
    """Whether the weights in memory have moved on from `fingerprint`. Whoever trains sets it; `save` clears it."""
    frozen: PreTrainedModel | None = field(default=None, repr=False)
    """The copy of the base that `reference` loads for full fine-tuning."""

    @property
    def name(self) -> str:
        """The model as the user named it."""
        return self.config.name

    @property
    def has_adapter(self) -> bool:
        """Whether an adapter lies on top of the weights."""
        return hasattr(self.model, "get_base_model")

    @property
    def network(self) -> PreTrainedModel:
        """The Hugging Face model; an adapter's layers, if any, are inside it and active."""
        network: PreTrainedModel = self.model.get_base_model() if self.has_adapter else self.model
        return network


def load(config: ModelConfig) -> Policy:
    """Loads a model, and the policy on top of it where `config.policy` names one.

    Raises:
        UsageError: unknown model, device or policy; a broken file; a policy of another model.
    """
    policy = without_adapter(config, load_network)
    if policy.directory is None:
        load_into(policy, Path(config.policy) if config.policy else None)
    return policy


def without_adapter(config: ModelConfig, read: Callable[[Path, ModelConfig, torch.device], PreTrainedModel]) -> Policy:
    """The network that a policy is made of, checked: with the full weights of the directory that `config.policy` names,
    or the base's where that holds an adapter, which is still to be put on.

    Args:
        read: makes the network of a folder.

    Raises:
        UsageError: see `load`.
    """
    folder = model_folder(config.name)
    base = model_fingerprint(folder)
    directory = Path(config.policy) if config.policy else None
    if directory:
        check_policy(directory, base)
    full = directory if directory and not is_adapter(directory) else None
    weights = policy_fingerprint(full) if full else base
    device = find_device(config.device)
    return Policy(read(full or folder, config, device), load_reader(folder, config), device, config, folder, base,
                  weights=weights, fingerprint=weights, directory=full)


def load_into(policy: Policy, directory: Path | None) -> None:
    """Makes `policy` the one in `directory` (None: the bare model), in place; does nothing if it is that one already.

    An adapter of the same configuration is swapped in place, so an optimiser's parameters stay the same objects.

    Raises:
        UsageError: not a whole policy, or one of another model; the policy in memory is then as it was.
    """
    if directory is not None:
        check_policy(directory, policy.base_fingerprint)
    wanted = policy_fingerprint(directory, policy.base_fingerprint) if directory else policy.base_fingerprint
    if policy.changed or wanted != policy.fingerprint:
        if directory is not None and is_adapter(directory):
            _put_adapter(policy, directory)
        else:
            _remove_adapter(policy)
            _put_weights(policy, directory or policy.base_folder, wanted)
    policy.fingerprint, policy.directory, policy.changed = wanted, directory, False


def trainable(policy: Policy, config: TrainConfig) -> dict[str, Parameter]:
    """The weights that `config.method` trains, by name; puts a new adapter on a bare model.

    What reads images is frozen unless `config.train_vision`.

    Raises:
        UsageError: full fine-tuning of a policy with an adapter or of quantised weights, an adapter on full weights, or
            an adapter of another shape than `config` asks for; `train_vision` of a model that reads text only, or a
            model of which it is not known what reads images.
    """
    vision = vision_parameters(policy.network)
    if not vision and sees(policy.network.config):
        raise UsageError(f"{policy.network.config.model_type}: transformers does not tell its language model from what "
                         "reads images, so the one cannot be trained without the other; try another model")
    if config.train_vision and not vision:
        raise UsageError(f"train: train_vision: model {policy.name} reads text only; leave it out")
    if config.method == "lora":
        add_adapter(policy, config)
    elif policy.has_adapter:
        raise UsageError(f"policy {policy.directory}: has an adapter; train it with --method lora, or export it and "
                         "give the result as the model")
    elif is_quantised(policy.network):
        raise UsageError(f"model {policy.name}: quantised weights cannot be trained with --method full; train an "
                         "adapter (--method lora), or load the weights as they are")
    else:
        policy.network.requires_grad_(True)
        for parameter in vision.values():
            parameter.requires_grad_(config.train_vision)
    return {name: parameter for name, parameter in policy.model.named_parameters() if parameter.requires_grad}


def add_adapter(policy: Policy, config: TrainConfig) -> None:
    """Puts a new LoRA adapter on the model as `config.lora_*` and `config.seed` say; it changes nothing until it is
    trained (B = 0). An adapter that is there stays as it is.

    Raises:
        UsageError: the adapter that is there is not what `config` asks for; a target that fits no layer; full weights
            of the policy's own, which the KL reference would then miss.
    """
    from sparkcli.models import adapters

    if policy.has_adapter:
        adapters.check_asked(policy.model, config, f"policy {policy.directory}")
        return
    if policy.weights != policy.base_fingerprint:
        raise UsageError(f"policy {policy.directory}: has full weights of its own; train it with --method full, "
                         "or give it as the model with -m")
    policy.model = adapters.attach_new(policy.model, config)


def save(policy: Policy, directory: Path, state: Mapping[str, Any], optimizer: Mapping[str, Tensor] | None,
         weights: Mapping[str, Tensor] | None = None) -> None:
    """Writes a policy directory, whole or not at all; equal content gives equal bytes. The policy is then that one.

    `trainer_state.json` holds `base` (name, fingerprint), `parent` (fingerprint), and `state`.

    Args:
        weights: what is written as the policy's weights, whole and by their names in `policy.model`, where the model
            itself holds pieces of them (FSDP); of an adapter, its own alone.

    Raises:
        UsageError: `directory` exists and is no policy.
        SparkError: the disk is full or read-only.
    """
    with whole_directory(directory, STATE_FILE) as folder:
        if policy.has_adapter:
            from sparkcli.models import adapters

            adapters.write(policy.model, folder, policy.name, weights)
        else:
            twins = policy.model.all_tied_weights_keys  # transformers would see them by their shared memory
            policy.model.save_pretrained(folder, state_dict=None if weights is None else {
                name: tensor for name, tensor in weights.items() if name not in twins})
            write_index(folder)
            copy_companions(policy.base_folder, folder)
        if optimizer is not None:
            save_file({name: t.detach().to("cpu").contiguous() for name, t in optimizer.items()},
                      folder / OPTIMIZER_FILE, metadata={"format": "pt"})
        base = {"name": policy.name, "fingerprint": policy.base_fingerprint}
        write_json(folder / STATE_FILE, {**state, "base": base, "parent": policy.fingerprint})
    policy.fingerprint, policy.directory, policy.changed = policy_fingerprint(directory), directory, False
    if not policy.has_adapter:
        policy.weights = policy.fingerprint


def export(directory: Path, out: Path, dtype: str = "auto", model: str | None = None) -> None:
    """Writes the policy in `directory` as a plain Hugging Face folder: adapter merged, tokenizer and settings along.

    The base is `model`, or what the policy recorded. An adapter is merged in float32 and rounded once, to `dtype` (a
    torch dtype's name; `auto`: the base checkpoint's own). A plain adapter's own tokenizer goes before the base's. An
    existing `out` is replaced only if it is a model folder.

    Raises:
        UsageError: the policy or its base cannot be loaded, or `out` holds something else.
        SparkError: the disk is full or read-only.
    """
    check_policy(directory)
    base = model or recorded_base(directory)["name"]
    try:
        model_folder(base)
    except UsageError as error:
        raise error if model else UsageError(f"{error}; if the policy's model has moved, name it with -m") from None
    policy = load(ModelConfig(name=base, policy=str(directory), dtype="float32", device="cpu"))
    stored = transformers.AutoConfig.from_pretrained(policy.base_folder).dtype or torch.float32
    network: Any = policy.network
    if policy.has_adapter:
        from sparkcli.models import adapters

        network = adapters.merged(policy.model)
    network.to(stored if dtype == "auto" else getattr(torch, dtype))
    with whole_directory(out, "config.json") as folder:
        network.save_pretrained(folder)
        if is_plain_adapter(directory):
            copy_companions(directory, folder, TOKENIZER)
        copy_companions(policy.base_folder, folder)


def read_state(directory: Path) -> dict[str, Any]:
    """What `save` was given as `state`, with `base` and `parent`; nothing of a plain adapter."""
    return {} if is_plain_adapter(directory) else read_json(directory / STATE_FILE)


def read_optimizer(directory: Path) -> dict[str, Tensor] | None:
    """What `save` was given as `optimizer`, on the CPU; None where there was none."""
    path = directory / OPTIMIZER_FILE
    return load_file(path) if path.exists() else None


@contextlib.contextmanager
def reference(policy: Policy) -> Iterator[Any]:
    """The model that the KL is measured to: the base.

    Under an adapter that is the same network with the adapter off, and for weights that have not moved yet the policy
    itself. For full fine-tuning else a frozen copy of the base, loaded at the first call; it waits in the CPU's memory.
    """
    if policy.has_adapter:
        with policy.model.disable_adapter():
            yield policy.model
        return
    if policy.fingerprint == policy.base_fingerprint and not policy.changed:
        yield policy.model
        return
    if policy.frozen is None:
        policy.frozen = load_network(policy.base_folder, policy.config, policy.device).requires_grad_(False)
    frozen: Any = policy.frozen
    waits_elsewhere = policy.device.type != "cpu"  # else it may also have been cut into shards, and must stay in place
    if waits_elsewhere:
        frozen.to(policy.device)
    yield frozen
    if waits_elsewhere:
        frozen.to("cpu")


def _put_adapter(policy: Policy, directory: Path) -> None:
    from sparkcli.models import adapters

    if policy.has_adapter and adapters.fits(policy.model, directory):
        adapters.swap(policy.model, directory)
        return
    _remove_adapter(policy)
    _put_weights(policy, policy.base_folder, policy.base_fingerprint)
    policy.model = adapters.attach_saved(policy.model, directory)


def _remove_adapter(policy: Policy) -> None:
    if policy.has_adapter:
        from sparkcli.models import adapters

        policy.model = adapters.detach(policy.model)
        policy.changed = False  # what was trained is gone with the adapter; the weights under it never moved


def _put_weights(policy: Policy, folder: Path, fingerprint: str) -> None:
    """Copies the weights in `folder` into the network in place, unless it has them; quantised ones replace it."""
    if policy.changed or policy.weights != fingerprint:
        fresh = load_network(folder, policy.config, policy.device)
        if is_quantised(fresh):
            policy.model = fresh
        else:
            policy.model.load_state_dict(fresh.state_dict())
        policy.weights = fingerprint
