"""What a phase would do, and the memory it would take, with everything checked and no weights loaded."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from sparkcli.config import ModelConfig, TrainConfig
from sparkcli.method.objectives import objective
from sparkcli.models.policy import Policy, read_state, trainable
from sparkcli.records import Scored
from sparkcli.training.batches import MicroBatch, Part, Way, deal, micro_batches, needed, work
from sparkcli.training.estimate import estimate
from sparkcli.training.forward import choose
from sparkcli.training.memory import MIB, free_memory
from sparkcli.training.outline import outline
from sparkcli.training.scoring import read
from sparkcli.training.sights import Sights
from sparkcli.training.targets import assign_advantages, needs_forward, trained

log = logging.getLogger(__name__)


def plan(records: Iterable[Scored], model: ModelConfig, config: TrainConfig) -> dict[str, Any]:
    """The plan of a phase in one process. Groups, deal and micro-batches are those that training would have.

    Sizes mean what they mean in a phase's metrics. With the KL in the reward, advantages are not known beforehand: all
    samples are planned for. `memory_mib` is null where the network cannot be run without numbers.

    Raises:
        InputError: a rollout that cannot be trained on, named.
        UsageError: model, policy and settings do not fit each other.
    """
    policy = outline(model)
    facts = {"device": str(policy.device), "dtype": str(policy.network.dtype).removeprefix("torch."),
             "method": config.method, **weights(policy, config)}
    sights = Sights(policy)
    phase = read(records, policy, config, sights)
    parts = trained(phase.groups, objective(config), config)
    assign_advantages(phase.groups, objective(config), config)
    way = choose(policy.network, config.gradient_checkpointing, tried=False)
    dealt = updates_of(parts, policy, config)
    updates = [micro_batches(computed, config.tokens_per_batch, way) for _, computed in dealt]
    batches = [batch for update in updates for batch in update]
    done = work(batches, way)
    return {**facts, "groups_trained_on": len({part[0].id for part in parts}),
            "samples": sum(len(part) for update, _ in dealt for part in update),
            "computed_samples": sum(len(batch.samples) for batch in batches),
            "updates": len(updates), "micro_batches": len(batches), "tokens": done.tokens,
            "shared_tokens": done.shared, "padding_share": done.padding,
            "attention_padding_share": done.attention_padding, "prompts": way,
            "memory_mib": memory(policy, config, updates, way), **phase.facts}


def weights(policy: Policy, config: TrainConfig) -> dict[str, Any]:
    """How many weights there are and are trained; puts a new adapter on a bare model."""
    chosen = trainable(policy, config)
    count = sum(parameter.numel() for parameter in chosen.values())
    whole = sum(parameter.numel() for parameter in policy.model.parameters())
    return {"parameters": whole, "trainable_parameters": count, "trainable_share": count / whole}


def updates_of(parts: Sequence[Part], policy: Policy, config: TrainConfig) -> list[tuple[list[Part], list[Part]]]:
    """What each update is a mean over, and what of it is computed; without updates that compute nothing."""
    before = int(read_state(policy.directory).get("updates", 0)) if policy.directory else 0
    taxed = bool(config.kl) and config.kl_in == "reward"
    dealt = ((update, needed(update, lambda sample: taxed or needs_forward(sample, config)))
             for update in deal(parts, config.updates, f"{config.seed}/{before}", config.epochs))
    return [(update, computed) for update, computed in dealt if computed]


def memory(policy: Policy, config: TrainConfig, updates: Sequence[Sequence[MicroBatch]],
           way: Way) -> dict[str, float] | None:
    """The estimate in MiB, its sum and by part, with a warning where less is free; spends the outline."""
    if not updates:
        return None
    try:
        peak = estimate(policy, config, updates, way)
    except Exception as error:  # noqa: BLE001 - whatever a network's code says to tensors without numbers
        log.warning("no estimate of memory: %s cannot be run without numbers: %s", policy.network.config.model_type,
                    " ".join(str(error).split())[:200])
        return None
    if short := shortage(peak.total(), free_memory(policy.device)):
        log.warning("%s on %s", short, policy.device)
    return {"total": round(peak.total() / MIB, 2), **{kind: round(size / MIB, 2) for kind, size in peak.items()}}


def shortage(wanted: int, free: int | None) -> str | None:
    """What to say where less memory is free than is wanted, both in bytes."""
    if free is None or wanted <= free:
        return None
    return (f"about {wanted // MIB} MiB are needed (try --gradient-checkpointing or fewer --tokens-per-batch), "
            f"{free // MIB} MiB are free")
