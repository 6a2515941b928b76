"""Scored rollouts → samples: what the update needs of a record, checked before anything is computed."""

import logging
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sparkcli.errors import InputError
from sparkcli.method.advantages import group_advantages
from sparkcli.records import Sampling, Scored, groups

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion that carries a gradient: its advantage is not 0 and it has at least one token."""

    id: str
    number: int
    prompt_T: tuple[int, ...]
    completion_T: tuple[int, ...]
    logprobs_T: tuple[float, ...]
    temperature: float
    advantage: float

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"prompt {self.id!r}, sample {self.number}"


@dataclass(frozen=True, slots=True)
class Phase:
    """All of a phase's input: the samples that are trained on, by group, and what there was to see beside them.

    A group keeps only the samples that share prompt tokens and temperature, so it can share its prompt's forward pass.
    """

    groups: list[list[Sample]]
    facts: dict[str, object]

    @property
    def samples(self) -> int:
        """Number of samples that are trained on."""
        return sum(map(len, self.groups))


def read_phase(scored: Iterable[Scored], vocabulary: int, policy: str | None) -> Phase:
    """Checks and sorts scored rollouts, a prompt's samples next to each other.

    Null rewards take no part: neither in a group's mean nor in its loss. Groups whose rewards are all equal have no
    advantage and are skipped, and with them their KL: a pull to the reference alone is not worth a forward pass.

    Args:
        vocabulary: number of token ids that the model knows.
        policy: fingerprint of the policy that is to be updated; rollouts of another one are counted and warned of.

    Raises:
        InputError: a rollout with a reward has no token ids or log-probs, or unusable ones; the first is named.
    """
    trained: list[list[Sample]] = []
    seen: list[Scored] = []
    kinds: Counter[str] = Counter()
    for group in groups(scored):
        known = [rollout for rollout in group if rollout.reward is not None]
        for rollout in known:
            check(rollout, vocabulary)
        advantages_G = group_advantages([rollout.reward for rollout in known])
        kinds[group_kind(known)] += 1
        trained += shareable(known, advantages_G)
        seen += group
    facts = {"groups": {kind: kinds[kind] for kind in GROUP_KINDS}, **phase_facts(seen, policy)}
    return Phase(groups=trained, facts=facts)


GROUP_KINDS = ("all_right", "all_wrong", "mixed", "unknown")
"""By reward: all 1, all 0 or less, anything between, and no reward known at all."""


def group_kind(known: Sequence[Scored]) -> str:
    """Which of `GROUP_KINDS` a group is."""
    rewards = [rollout.reward for rollout in known if rollout.reward is not None]
    if not rewards:
        return "unknown"
    return "all_right" if min(rewards) >= 1 else "all_wrong" if max(rewards) <= 0 else "mixed"


def shareable(known: Sequence[Scored], advantages_G: Sequence[float | None]) -> list[list[Sample]]:
    """The samples of a group with a non-zero advantage, apart where prompt tokens or temperature differ."""
    parts: dict[tuple[tuple[int, ...], float], list[Sample]] = {}
    for rollout, advantage in zip(known, advantages_G, strict=True):
        if advantage and rollout.token_ids:
            sample = sample_of(rollout, advantage)
            parts.setdefault((sample.prompt_T, sample.temperature), []).append(sample)
    return list(parts.values())


def sample_of(rollout: Scored, advantage: float) -> Sample:
    """A checked rollout as a sample. Greedy sampling records log-probs at temperature 1."""
    assert rollout.prompt_token_ids and rollout.token_ids and rollout.logprobs is not None
    temperature = rollout.sampling.temperature if rollout.sampling else 1.0
    return Sample(id=rollout.id, number=rollout.sample, prompt_T=rollout.prompt_token_ids,
                  completion_T=rollout.token_ids, logprobs_T=rollout.logprobs, temperature=temperature or 1.0,
                  advantage=advantage)


def check(rollout: Scored, vocabulary: int) -> None:
    """Raises InputError unless a rollout with a reward can be trained on."""
    place = f"prompt {rollout.id!r}, sample {rollout.sample}"
    if not rollout.prompt_token_ids or rollout.token_ids is None or rollout.logprobs is None:
        lacking = "prompt_token_ids" if not rollout.prompt_token_ids else (
            "token_ids" if rollout.token_ids is None else "logprobs")
        raise InputError(f"{place}: {lacking}: expected for training, missing; sample it with `sparkcli rollout`, "
                         "which records them")
    if len(rollout.token_ids) != len(rollout.logprobs):
        raise InputError(f"{place}: logprobs: expected one for each of the {len(rollout.token_ids)} token_ids, "
                         f"found {len(rollout.logprobs)}")
    for field, ids in (("prompt_token_ids", rollout.prompt_token_ids), ("token_ids", rollout.token_ids)):
        if ids and not (min(ids) >= 0 and max(ids) < vocabulary):
            found = next(i for i in ids if not 0 <= i < vocabulary)
            raise InputError(f"{place}: {field}: expected ids below the vocabulary's {vocabulary}, found {found}; "
                             "was it sampled from another model?")
    if not math.isfinite(sum(rollout.logprobs)) or not math.isfinite(rollout.reward or 0.0):
        field = "logprobs" if not math.isfinite(sum(rollout.logprobs)) else "reward"
        raise InputError(f"{place}: {field}: expected finite numbers, found NaN or infinity; drop the record")


def phase_facts(seen: Sequence[Scored], policy: str | None) -> dict[str, object]:
    """Counts for the metrics; warns of rollouts whose log-probs are not those of the policy that is updated."""
    known = [rollout for rollout in seen if rollout.reward is not None]
    biased = sum(is_biased(rollout.sampling) for rollout in known)
    stale = sum(rollout.policy is not None and rollout.policy != policy for rollout in known)
    if biased:
        log.warning("%d of %d rollouts were sampled greedily or with top-p or top-k, whose log-probs bias the ratio; "
                    "sample with temperature above 0, top-p 1 and top-k 0", biased, len(known))
    if stale:
        log.warning("%d of %d rollouts were sampled by another policy than the one that is updated (%s); "
                    "the ratio accounts for it only within the clip", stale, len(known), policy)
    return {"rollouts": len(seen), "null_rewards": len(seen) - len(known), "biased_sampling": biased,
            "stale_policy": stale, "reward": reward_by_task(known)}


def is_biased(sampling: Sampling | None) -> bool:
    """Whether recorded log-probs are not those of the model's own distribution at the recorded temperature."""
    return sampling is not None and (sampling.top_p < 1 or sampling.top_k > 0 or sampling.temperature == 0)


def reward_by_task(known: Sequence[Scored]) -> dict[str, float]:
    """Mean reward of each task that occurs."""
    rewards: dict[str, list[float]] = {}
    for rollout in known:
        rewards.setdefault(rollout.task, []).append(rollout.reward or 0.0)
    return {task: math.fsum(values) / len(values) for task, values in sorted(rewards.items())}
