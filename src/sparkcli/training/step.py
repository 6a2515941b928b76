"""One phase: GRPO on scored rollouts, the policy updated in place.

    read and deal → log-probs under the reference → for each mini-batch: micro-batches forward and backward, clip, AdamW

The ratio is taken to the *recorded* log-probs, so from the second update on the clip limits how far a phase moves.
Same input, seed, machine and number of threads → same bytes.
"""

import dataclasses
import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import Embedding, Parameter

from sparkcli.config import TrainConfig
from sparkcli.errors import SparkError, UsageError
from sparkcli.models.policy import Policy, add_adapter, read_optimizer, read_state, reference, save
from sparkcli.models.prefix import network_of
from sparkcli.records import Scored
from sparkcli.training.batches import MicroBatch, deal, micro_batches
from sparkcli.training.forward import choose, recomputing, running
from sparkcli.training.losses import Loss, grpo_loss
from sparkcli.training.metrics import Stopwatch, mean_values, sizes, summary
from sparkcli.training.optimizer import adamw, learning_rate, optimizer_tensors, restore_optimizer
from sparkcli.training.samples import Phase, read_phase

log = logging.getLogger(__name__)

MiniBatch = list[MicroBatch]
References = list[Tensor | None]
"""For each micro-batch of a mini-batch the reference's log-probs; None where there is no KL."""


class Trainer:
    """Updates one policy, phase after phase, and keeps AdamW's state between them.

    Args:
        policy: trained in place. Where it was loaded from a policy directory, AdamW and the counters go on from there.
        config: may be replaced between phases (`trainer.config = …`), but for `method` and the adapter's shape.

    Raises:
        UsageError: `config.method` does not fit the policy, or the directory's optimiser state its weights.
    """

    def __init__(self, policy: Policy, config: TrainConfig) -> None:
        self.policy, self.config = policy, config
        self.parameters = trainable(policy, config)
        self.optimizer = adamw(self.parameters, config)
        self.forward = choose(policy.network, config.gradient_checkpointing)
        self.phases, self.updates = 0, 0
        self.last: dict[str, Any] | None = None
        if policy.directory is not None:
            self._restore(policy.directory)

    def step(self, scored: Iterable[Scored]) -> dict[str, Any]:
        """Trains on one phase of scored rollouts; a prompt's samples must stand next to each other.

        Returns:
            Metrics. All but `seconds` depend on the input alone; null where nothing was trained.

        Raises:
            InputError: a rollout that cannot be trained on, named.
            SparkError: a loss, gradient or weight is not finite. The policy in memory is then not to be used.
        """
        watch = Stopwatch()
        with watch("read"):
            phase = read_phase(scored, vocabulary(self.policy), self.policy.fingerprint)
            minibatches = self._deal(phase)
        network = self.policy.network
        with running(network, self.forward), recomputing(network, self.config.gradient_checkpointing):
            with watch("reference"):
                references = self._reference(minibatches)
            with watch("update"):
                updates = [self._update(batches, refs) for batches, refs in zip(minibatches, references, strict=True)]
                self._check_weights()
        self.phases += 1
        self.last = {"phase": self.phases, **summary(updates), "total_updates": self.updates, **sizes(minibatches),
                     **phase.facts}
        return {**self.last, "seconds": watch.seconds}

    def save(self, directory: Path) -> None:
        """Writes the policy directory, optimiser state and counters included; whole or not at all."""
        state = {"phase": self.phases, "updates": self.updates, "seed": self.config.seed,
                 "config": dataclasses.asdict(self.config), "metrics": self.last}
        save(self.policy, directory, state, optimizer_tensors(self.optimizer, self.parameters))

    def _restore(self, directory: Path) -> None:
        state = read_state(directory)
        self.phases, self.updates = int(state.get("phase", 0)), int(state.get("updates", 0))
        tensors = read_optimizer(directory)
        if tensors is None:
            log.warning("%s: holds no optimiser state; AdamW starts anew", directory)
            return
        restore_optimizer(self.optimizer, self.parameters, tensors, str(directory / "optimizer.safetensors"))

    def _deal(self, phase: Phase) -> list[MiniBatch]:
        parts = deal(phase.groups, self.config.updates, seed=f"{self.config.seed}/{self.updates}")
        return [micro_batches(minibatch, self.config.tokens_per_batch) for minibatch in parts]

    def _reference(self, minibatches: Sequence[MiniBatch]) -> list[References]:
        if not minibatches or not self.config.kl:
            return [[None] * len(batches) for batches in minibatches]
        with reference(self.policy) as model, running(network_of(model), self.forward), torch.no_grad():
            return [[self.forward(model, batch)[0] for batch in batches] for batches in minibatches]

    def _update(self, batches: MiniBatch, references: References) -> dict[str, float]:
        """One optimiser update; the gradient is that of the mean over all of the mini-batch's tokens."""
        emitted = sum(batch.emitted for batch in batches)
        rate = learning_rate(self.config, self.updates)
        totals = [self._backward(batch, ref, emitted) for batch, ref in zip(batches, references, strict=True)]
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.config.max_grad_norm)
        values = mean_values(totals, emitted)
        if not math.isfinite(values["loss"]) or not math.isfinite(float(norm)):
            raise self._blame(batches, references)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.policy.changed = True
        self.updates += 1
        return {**values, "grad_norm": float(norm), "lr": rate}

    def _backward(self, batch: MicroBatch, reference_BT: Tensor | None, emitted: int) -> tuple[Loss, Tensor]:
        """Adds a micro-batch's share of the gradient; returns its loss and the sum of its log-probs."""
        logprobs_BT, mask_BT = self.forward(self.policy.model, batch)
        old_BT = torch.zeros_like(logprobs_BT).masked_scatter(mask_BT, torch.tensor(
            [value for sample in batch.samples for value in sample.logprobs_T], device=logprobs_BT.device))
        advantages_B = torch.tensor([sample.advantage for sample in batch.samples], device=logprobs_BT.device)
        loss = grpo_loss(logprobs_BT, old_BT, reference_BT, advantages_B, mask_BT, self.config.clip, self.config.kl)
        (loss.total / emitted).backward()
        return dataclasses.replace(loss, total=loss.total.detach()), logprobs_BT.detach().sum()

    def _check_weights(self) -> None:
        for name, parameter in self.parameters.items():
            if not parameter.isfinite().all():
                raise SparkError(f"{name}: not finite after update {self.updates}; nothing was written; lower the "
                                 f"learning rate ({self.optimizer.param_groups[0]['lr']:g})")

    def _blame(self, batches: MiniBatch, references: References) -> SparkError:
        """The error that names the first sample whose own loss or gradient is not finite (NaN costs time only once)."""
        samples = [sample for batch in batches for sample in batch.samples]
        rows = [ref_T[None] if ref_T is not None else None for batch, ref_BT in zip(batches, references, strict=True)
                for ref_T in (ref_BT if ref_BT is not None else [None] * len(batch.samples))]
        first = samples[0]
        for sample, ref_1T in zip(samples, rows, strict=True):
            self.optimizer.zero_grad()
            length = len(sample.completion_T)
            loss, _ = self._backward(MicroBatch([[sample]]), None if ref_1T is None else ref_1T[:, :length], 1)
            gradients = [p.grad for p in self.parameters.values() if p.grad is not None]
            if not all(bool(value.isfinite().all()) for value in [loss.total, *gradients]):
                first = sample
                break
        self.optimizer.zero_grad()
        return SparkError(f"{first.name}: the loss or its gradient is not finite at update {self.updates + 1}; nothing "
                          "was written; drop the record, or lower the learning rate")


def vocabulary(policy: Policy) -> int:
    """Number of token ids that the network knows."""
    embeddings = cast(Embedding, policy.network.get_input_embeddings())
    return embeddings.num_embeddings


def trainable(policy: Policy, config: TrainConfig) -> dict[str, Parameter]:
    """The weights that `config.method` trains, by name; puts a new adapter on a bare model.

    Raises:
        UsageError: full fine-tuning of a policy with an adapter, or an adapter on full weights.
    """
    if config.method == "full" and policy.has_adapter:
        raise UsageError(f"policy {policy.directory}: has an adapter; train it with --method lora, or export it and "
                         "give the result as the model")
    if config.method == "full":
        policy.network.requires_grad_(True)
    elif not policy.has_adapter:
        add_adapter(policy, config.lora_rank, config.lora_alpha, config.seed)
    return {name: parameter for name, parameter in policy.model.named_parameters() if parameter.requires_grad}
