"""Weights that are cut over processes: FSDP2 as accelerate's settings have it.

torch's `fully_shard` is applied directly: accelerate's `prepare` does it on GPUs alone, and with an optimiser that was
built before. Embeddings and head belong to the outermost unit, since the scorer reads the head's weights itself; and
so does what reads images, since a process whose micro-batch shows none would not come to its layers, for which the
others wait. While a pass runs, each process has these weights whole.
"""

import os
from dataclasses import replace
from typing import Any

import torch

from sparkcli.errors import UsageError
from sparkcli.models.network import is_quantised
from sparkcli.models.prefix import network_of
from sparkcli.models.tower import language_modules
from sparkcli.training.forward import Scorer, Scores

UNSUPPORTED = {"ACCELERATE_USE_DEEPSPEED": "DeepSpeed", "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM"}


def settings(*, wanted: bool) -> Any:
    """accelerate's FSDP settings, from the variables that `accelerate launch` sets; None where nobody asks for FSDP.

    Raises:
        UsageError: accelerate is configured for something that is not supported here.
    """
    for variable, name in UNSUPPORTED.items():
        if os.environ.get(variable, "").lower() == "true":
            raise UsageError(f"accelerate is configured for {name}, which train-step does not run on; configure FSDP "
                             "with fsdp_version 2, or plain multi-GPU")
    configured = os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
    if not configured and not wanted:
        return None
    # transformers would otherwise leave the weights out in all processes but the first
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    from accelerate import FullyShardedDataParallelPlugin

    plugin = FullyShardedDataParallelPlugin(fsdp_version=None if configured else 2)
    if plugin.fsdp_version != 2:
        raise UsageError("accelerate is configured for FSDP 1; set fsdp_version: 2 in its configuration file "
                         "(`accelerate to-fsdp2` converts one)")
    return plugin


def cut(scorer: Scorer, plugin: Any, device: torch.device, count: int) -> None:
    """Cuts a scorer's weights over `count` processes, in place, layer by layer; its parameters are then others.

    Gradients are summed, in float32, not averaged: weights of samples are those of the whole update.

    Raises:
        UsageError: the weights are quantised.
    """
    network = network_of(scorer.model)
    if is_quantised(network):
        raise UsageError("weights of 4 bits cannot be cut over processes; leave out --load-in-4bit or --shard")
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    common = {"mesh": init_device_mesh(device.type, (count,)), "offload_policy": plugin.cpu_offload,
              "mp_policy": MixedPrecisionPolicy(reduce_dtype=torch.float32)}
    layers = plugin.transformer_cls_names_to_wrap or network._no_split_modules or ()
    language = language_modules(network)
    for module in [*scorer.modules()]:
        if type(module).__name__ in layers and module in language:
            fully_shard(module, reshard_after_forward=plugin.reshard_after_forward, **common)
    scorer.register_forward_hook(_unshared)
    fully_shard(scorer, **common)
    for module in scorer.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)


def put_away(scorer: Scorer) -> None:
    """Takes back the whole weights that a pass without a backward pass leaves lying. PEFT switches an adapter's weights
    off and on where it finds them, and FSDP would forget that once they are whole no more."""
    from torch.distributed.fsdp import FSDPModule

    if isinstance(scorer, FSDPModule):
        scorer.reshard()


def _unshared(scorer: Scorer, given: Any, scores: Scores) -> Scores:
    """Scores that are views of nothing: FSDP warns that what is done to a view in place goes past it."""
    entropy_BT = scores.entropy_BT
    return replace(scores, logprobs_BT=scores.logprobs_BT.clone(),
                   entropy_BT=None if entropy_BT is None else entropy_BT.clone())
