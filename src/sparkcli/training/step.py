"""One phase: scored rollouts in, the policy updated in place.

    read → log-probs under reference and parent → targets → deal → for each update: micro-batches forward and backward,
    clip, AdamW

The ratio is taken to the *recorded* log-probs (or, where a mismatch is corrected or none were recorded, to the
parent's), so from the second update on the clip limits how far a phase moves. Same input, seed, machine and number of
threads → same bytes.
"""

import contextlib
import dataclasses
import itertools
import logging
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.utils.rnn import pad_sequence

from sparkcli.config import TrainConfig
from sparkcli.errors import SparkError
from sparkcli.method.objectives import Objective, objective
from sparkcli.models.policy import Policy, read_optimizer, read_state, reference, save, trainable
from sparkcli.records import Scored
from sparkcli.training.batches import MicroBatch, Part, deal, needed
from sparkcli.training.forward import Scorer
from sparkcli.training.losses import Loss, policy_loss
from sparkcli.training.memory import Budget, fitting, read_peak, reset_peak
from sparkcli.training.metrics import Stopwatch, Tally, phase_metrics, rows_of
from sparkcli.training.mismatch import correction_weights, probe
from sparkcli.training.optimizer import Optimizer, learning_rate
from sparkcli.training.processes import ALONE, Processes
from sparkcli.training.samples import Sample
from sparkcli.training.scoring import read, recorded
from sparkcli.training.sights import Sights
from sparkcli.training.targets import assign_advantages, correction, needs_forward, old_logprobs, trained, weigh

log = logging.getLogger(__name__)


class Trainer:
    """Updates one policy, phase after phase, and keeps AdamW's state between them.

    Args:
        policy: trained in place. Where it was loaded from a policy directory, AdamW and the counters go on from there.
        config: may be replaced between phases (`trainer.config = …`), but for `method` and the adapter's shape.
        processes: those that train the policy together; each is given the same policy, settings and rollouts.

    Raises:
        UsageError: `config.method` does not fit the policy, or the directory's optimiser state its weights.
    """

    def __init__(self, policy: Policy, config: TrainConfig, processes: Processes = ALONE) -> None:
        self.policy, self.processes = policy, processes
        self.device = processes.device or policy.device
        trainable(policy, config)
        self.sights = Sights(policy)
        self.scorer = processes.prepare(Scorer(policy.model, policy.network, config.gradient_checkpointing,
                                               place=self.sights.place))
        self.parameters = {name: p for name, p in policy.model.named_parameters() if p.requires_grad}
        self.optimizer = Optimizer(self.parameters, config, policy.network.dtype)
        self.config = config
        self._frozen: Scorer | None = None
        self._budget = Budget(config.tokens_per_batch, self.scorer.way)
        self.phases, self.updates = 0, 0
        self.last: dict[str, Any] | None = None
        if policy.directory is not None:
            self._restore(policy.directory)

    @property
    def config(self) -> TrainConfig:
        """The settings of the next phase."""
        return self._config

    @config.setter
    def config(self, config: TrainConfig) -> None:
        self._config = self.optimizer.config = config
        self._objective: Objective = objective(config)

    def step(self, scored: Iterable[Scored]) -> dict[str, Any]:
        """Trains on one phase of scored rollouts; a prompt's samples must stand next to each other.

        Returns:
            Metrics. All but `metrics.MACHINE` depend on the input alone; null where nothing was trained.

        Raises:
            InputError: a rollout that cannot be trained on, named.
            SparkError: a loss, gradient or weight is not finite. The policy in memory is then not to be used.
        """
        watch = Stopwatch(self.device)
        reset_peak(self.device)
        with watch("read"):
            phase = read(scored, self.policy, self.config, self.sights)
        parts = trained(phase.groups, self._objective, self.config)
        compared = phase.groups if self.config.kl_in == "reward" else parts
        with watch("reference"):
            self._score_reference(compared)
        with watch("parent"):
            self._score_missing(compared)
            corrected = self._correct(parts)
        assign_advantages(phase.groups, self._objective, self.config)
        seed = f"{self.config.seed}/{self.updates}"
        dealt = deal(parts, self.config.updates, seed, self.config.epochs)
        updates = [self._update(update, watch) for update in dealt if self._needed(update)]
        self._check_weights()
        self.phases += 1
        self.last = {"phase": self.phases, "total_updates": self.updates, **phase_metrics(updates, self.scorer.way),
                     "corrected": corrected, **phase.facts}
        peak = self.processes.largest(torch.tensor((read_peak(self.device) or 0) / 2**20)).item()
        return {**self.last, **watch.metrics(updates), "peak_memory_mib": round(peak, 1) or None}

    def probe(self, scored: Iterable[Scored]) -> dict[str, Any]:
        """How far the rollouts' sampler is from the policy, without training; see `mismatch.probe`.

        Where `config.score_missing` lets in rollouts without log-probs, they are left out: there is nothing to compare.
        """
        config = dataclasses.replace(self.config, allow_stale=True, score_missing=False)
        phase = read(recorded(scored) if self.config.score_missing else scored, self.policy, config, self.sights)
        samples = [sample for group in phase.groups for sample in group if sample.completion_T]
        parents = self._logprobs(samples, self.scorer)
        return probe(samples, parents, clip=self._objective.clip, clip_high=self._objective.clip_high,
                     cap=self.config.correction_cap)

    def save(self, directory: Path) -> None:
        """Writes the policy directory, optimiser state and counters included; whole or not at all. One process writes,
        but all must call."""
        state = {"phase": self.phases, "updates": self.updates, "seed": self.config.seed,
                 "config": dataclasses.asdict(self.config), "metrics": self.last}
        tensors = self.optimizer.tensors(keep=self.processes.rank == 0)
        weights = self.processes.gathered(self.parameters) if self.processes.sharded else None
        if self.processes.rank == 0:
            save(self.policy, directory, state, tensors, weights)

    def _restore(self, directory: Path) -> None:
        state = read_state(directory)
        self.phases, self.updates = int(state.get("phase", 0)), int(state.get("updates", 0))
        tensors = read_optimizer(directory)
        if tensors is None:
            log.warning("%s: holds no optimiser state; AdamW starts anew", directory)
            return
        self.optimizer.restore(tensors, str(directory / "optimizer.safetensors"))

    def _score_reference(self, groups: Iterable[Sequence[Sample]]) -> None:
        """Sets the reference's log-probs, where a KL asks for them."""
        if not self.config.kl:
            return
        samples = [sample for group in groups for sample in group if sample.completion_T]
        with reference(self.policy) as model:
            scorer = self.scorer  # of an adapter's model it is the same, with the adapter off
            if model is not self.policy.model:
                self._frozen = scorer = self._frozen or self.processes.prepare(self.scorer.on(model))
            for sample, logprobs_T in zip(samples, self._logprobs(samples, scorer), strict=True):
                sample.reference_T = logprobs_T

    def _score_missing(self, groups: Iterable[Sequence[Sample]]) -> None:
        """Sets the log-probs that were not recorded: the parent's."""
        samples = [s for group in groups for s in group if s.rescored and s.completion_T]
        for sample, parent_T in zip(samples, self._logprobs(samples, self.scorer), strict=True):
            sample.logprobs_T = tuple(parent_T.tolist())

    def _correct(self, parts: Iterable[Part]) -> int:
        """Sets what corrects for the sampler: of all that it recorded if it is asked for, else of the stale ones.

        Returns:
            The number of samples that are corrected.
        """
        config = self.config
        samples = [s for part in parts for s in part if s.stale or (config.correction != "none" and not s.rescored)]
        kind = "truncate" if config.correction == "none" else config.correction
        for sample, parent_T in zip(samples, self._logprobs(samples, self.scorer), strict=True):
            sample.old_T = parent_T
            sample.correction_T = correction_weights(parent_T, torch.tensor(sample.logprobs_T), kind,
                                                     config.correction_level, config.correction_cap)
        return len(samples)

    def _needed(self, parts: Iterable[Part]) -> list[Part]:
        """What of an update carries a gradient and is computed."""
        return needed(parts, lambda sample: needs_forward(sample, self.config))

    def _logprobs(self, samples: Sequence[Sample], scorer: Scorer) -> list[Tensor]:
        """Log-probs `[T]` of each sample's tokens on the CPU, without a gradient.

        Raises:
            SparkError: some are not finite; the first sample is named.
        """
        parts = [list(run) for _, run in itertools.groupby(
            samples, key=lambda s: (s.id, s.prompt_T, s.temperature, id(s.prompt)))]

        def compute(batch: MicroBatch, counts: bool) -> list[Tensor]:
            logprobs_BT = scorer(batch, "none").logprobs_BT.cpu()
            return [logprobs_T[:len(sample.completion_T)].clone() for sample, logprobs_T
                    in zip(batch.samples, logprobs_BT, strict=True)]

        with scorer.running(), torch.no_grad():
            done = self.processes.spend(self._budget, parts, compute)
        self.processes.put_away(scorer)
        found = self.processes.exchanged(parts, {
            id(sample): row for batch, rows in done for sample, row in zip(batch.samples, rows, strict=True)})
        for sample in samples:
            if not found[id(sample)].isfinite().all():
                raise SparkError(f"{sample.name}: its log-probs are not finite under the policy or its reference; "
                                 "nothing was written; are the weights sound?")
        return [found[id(sample)] for sample in samples]

    def _update(self, parts: Sequence[Part], watch: Stopwatch) -> Tally:
        """One optimiser update; the gradient is that of the mean over all of the update's tokens."""
        weigh(parts, self._objective)
        computed = self._needed(parts)
        entropy_weight = self.config.entropy_bonus / sum(len(s.completion_T) for part in computed for s in part)

        def compute(batch: MicroBatch, counts: bool) -> Loss:
            return self._backward(batch, entropy_weight, watch, counts=counts)

        with self.scorer.updating(), drawing(self.device, f"{self.config.seed}/{self.updates}", self.processes.rank):
            done = self.processes.spend(self._budget, computed, compute, undo=self.optimizer.zero_grad)
        tally = Tally(samples=sum(map(len, parts)), lr=learning_rate(self.config, self.updates),
                      batches=self.processes.batches(self._budget, computed, done),
                      rows=self.processes.joined(rows_of(loss for _, loss in done)))
        if not math.isfinite(tally.means()["loss"]):
            raise self._blame(computed)
        with watch("optimizer"), fitting("the optimiser's update"):
            self.processes.sum_gradients(self.optimizer)
            step = self.optimizer.step(tally.lr)
        if step.skipped:
            return self._update(parts, watch)
        if not math.isfinite(step.norm):
            raise self._blame(computed)
        self.policy.changed = True
        self.updates += 1
        return dataclasses.replace(tally, grad_norm=step.norm)

    def _backward(self, batch: MicroBatch, entropy_weight: float, watch: Stopwatch, *, counts: bool = True) -> Loss:
        """Adds a micro-batch's share of the gradient; of one that does not count, zeros."""
        with watch("forward"):
            loss = self._loss(batch, entropy_weight)
        with watch("backward"):
            self.optimizer.scale(loss.total * counts).backward()
        return dataclasses.replace(loss, total=loss.total.detach())

    def _loss(self, batch: MicroBatch, entropy_weight: float) -> Loss:
        scores = self.scorer(batch, "gradient" if self.config.entropy_bonus else "value")
        samples, device = batch.samples, scores.logprobs_BT.device

        def block(rows: Sequence[Tensor]) -> Tensor:
            return pad_sequence(list(rows), batch_first=True).to(device)

        def column(values: Iterable[float]) -> Tensor:
            return torch.tensor(list(values), device=device)

        has_kl = self.config.kl and self.config.kl_in == "loss"
        reference_BT = block([cast(Tensor, sample.reference_T) for sample in samples]) if has_kl else None
        is_corrected = any(sample.correction_T is not None for sample in samples)
        correction_BT = block([correction(sample) for sample in samples]) if is_corrected else None
        return policy_loss(
            scores.logprobs_BT, block([old_logprobs(sample) for sample in samples]), reference_BT, scores.entropy_BT,
            correction_BT, column(sample.advantage for sample in samples), column(sample.weight for sample in samples),
            scores.mask_BT, objective=self._objective, kl=self.config.kl, kl_estimator=self.config.kl_estimator,
            entropy_weight=entropy_weight)

    def _check_weights(self) -> None:
        broken = torch.tensor([not is_finite(parameter) for parameter in self.parameters.values()], dtype=torch.float)
        for name, is_broken in zip(self.parameters, self.processes.largest(broken).tolist(), strict=True):
            if is_broken:
                raise SparkError(f"{name}: not finite after update {self.updates}; nothing was written; lower the "
                                 f"learning rate ({self.config.lr:g})")

    def _blame(self, parts: Iterable[Part]) -> SparkError:
        """The error that names the first sample whose own loss or gradient is not finite (NaN costs time only once).
        All processes look at all samples."""
        self.optimizer.zero_grad()
        samples = sorted(itertools.chain.from_iterable(parts), key=lambda sample: sample.place)
        first = next((sample for sample in samples if self._breaks(sample)), samples[0])
        return SparkError(f"{first.name}: the loss or its gradient is not finite at update {self.updates + 1}; nothing "
                          "was written; drop the record, or lower the learning rate")

    def _breaks(self, sample: Sample) -> bool:
        with self.scorer.updating():
            loss = self._backward(MicroBatch([[sample]]), 0.0, Stopwatch(self.device))
        broken = not all(is_finite(value) for value in [loss.total, *self.optimizer.gradients().values()])
        self.optimizer.zero_grad()
        return self.processes.anywhere(broken)


@contextlib.contextmanager
def drawing(device: torch.device, seed: str, rank: int) -> Iterator[None]:
    """Within it torch's global generators, which an adapter's dropout draws from, start at `seed`, in each process
    elsewhere."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(random.Random(f"{seed}/{rank}" if rank else seed).getrandbits(63))
        yield


def is_finite(tensor: Tensor) -> bool:
    """Whether all numbers are that this process holds of a tensor."""
    local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return bool(local.isfinite().all())
