"""Scored rollouts → samples: what the update needs of a record, checked before anything is computed."""

import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparkcli.errors import InputError
from sparkcli.method.group_kinds import GROUP_KINDS, group_kind, has_signal, listed_kinds, outcome_of
from sparkcli.records import IMAGE_PARTS, Prompt, Rollout, Sampling, Scored, groups

if TYPE_CHECKING:  # a dry run reads samples and needs no torch
    from torch import Tensor

log = logging.getLogger(__name__)
ROUNDING, IMPOSSIBLE = 1e-3, -1000.0
"""A log-probability may be this far above 0, since samplers round. Below the other no token is ever drawn: it stands
for something else, as −9999 does for −∞."""


@dataclass(slots=True, eq=False)
class Sample:
    """One completion with a known reward, and what the phase has computed for it so far. T: its tokens."""

    id: str
    number: int
    task: str
    prompt_T: tuple[int, ...]
    completion_T: tuple[int, ...]
    logprobs_T: tuple[float, ...]
    """As the sampler recorded them, at its temperature; the parent's own, once it has scored what was not recorded."""
    temperature: float
    reward: float
    prompt: Rollout | None = None
    """The record, where it has images; one object for all samples of a group."""
    patches: int = 0
    """Of the prompt's images, where their way through the vision tower is trained."""
    place: int = 0
    """In the order of the phase's rollouts."""
    limit: int | None = None
    """The sampler's `max_tokens`."""
    truncated: bool = False
    """Whether the limit cut it."""
    stale: bool = False
    """Whether another policy sampled it than the one that is updated."""
    rescored: bool = False
    """Whether its sampler's log-probs are not known and the parent's stand for them."""
    advantage: float = 0.0
    weight: float = 0.0
    """Of each of its tokens in the mean of the update that is being computed."""
    old_T: "Tensor | None" = None
    """Log-probs that the ratio is taken to; None: the recorded ones."""
    reference_T: "Tensor | None" = None
    """Log-probs under the reference policy; None: there is no KL."""
    correction_T: "Tensor | None" = None
    """Importance weights of the sampler's mismatch; None: 1."""

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"prompt {self.id!r}, sample {self.number}"


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase's input: the samples with a known reward, by group, and what there was to see beside them."""

    groups: list[list[Sample]]
    facts: dict[str, object]


def read_phase(scored: Iterable[Scored], vocabulary: int, policy: str | None, *, allow_stale: bool = True,
               score_missing: bool = False) -> Phase:
    """Checks and sorts scored rollouts, a prompt's samples next to each other.

    Null rewards take no part: neither in a group's mean nor in its loss.

    Args:
        vocabulary: number of token ids that the model knows.
        policy: fingerprint of the policy that is to be updated; a rollout that names another one is stale.
        allow_stale: whether stale rollouts are let in.
        score_missing: whether rollouts without log-probs are, for the parent to score.

    Raises:
        InputError: a rollout with a reward has no token ids or log-probs, or unusable ones, or is stale and must not
            be; the first is named.
    """
    found: list[list[Sample]] = []
    seen: list[Scored] = []
    for group in groups(scored):
        known = [rollout for rollout in group if rollout.reward is not None]
        for rollout in known:
            if not (score_missing and has_ids(rollout)):
                check_complete(rollout)
            check(rollout, vocabulary)
        found.append([sample_of(rollout, policy) for rollout in known])
        show(found[-1], known)
        seen += group
    samples = [sample for group in found for sample in group]
    for place, sample in enumerate(samples):
        sample.place = place
    if not allow_stale:
        refuse_stale(seen, samples, policy)
    facts = {**group_facts(groups(seen)), **phase_facts(seen, samples)}
    return Phase(groups=[group for group in found if group], facts=facts)


def group_facts(given: Iterable[Sequence[Scored]]) -> dict[str, object]:
    """Counts of groups for the metrics: by kind, and of those that carry a signal; see `method.group_kinds`."""
    kinds, with_signal = Counter[str](), 0
    for group in given:
        kinds[group_kind([outcome_of(rollout.reward, rollout.terms) for rollout in group])] += 1
        with_signal += has_signal([rollout.reward for rollout in group])
    return {"groups": {kind: kinds[kind] for kind in GROUP_KINDS}, "groups_with_signal": with_signal}


def idle_reason(metrics: Mapping[str, Any]) -> str:
    """Why a phase with these metrics made no update, and what to try."""
    kinds, with_signal = metrics["groups"], metrics["groups_with_signal"]
    known = sum(kinds.values()) - kinds["unknown"]
    if not known:
        return "no rollout has a reward; verdict.reason says why"
    if with_signal:
        return (f"{with_signal} groups carry a signal, but what may be trained on of them does not (empty completions, "
                "and cut ones under --truncated mask)")
    if metrics["rollouts"] - metrics["null_rewards"] == known:
        return "no prompt has two samples with a reward to compare; sample more of each (rollout -n 8)"
    tries = {"all_right": "harder prompts", "all_wrong": "easier prompts"}
    hints = ["more samples a prompt (rollout -n)", "a higher --temperature", *(tries[k] for k in tries if kinds[k])]
    return f"in no group do rewards differ ({listed_kinds(kinds)}); try {', '.join(hints)}"


def sample_of(rollout: Scored, policy: str | None) -> Sample:
    """A checked rollout as a sample. Greedy sampling records log-probs at temperature 1."""
    assert rollout.prompt_token_ids and rollout.token_ids is not None and rollout.reward is not None
    rescored = rollout.logprobs is None
    temperature = rollout.sampling.temperature if rollout.sampling else 1.0
    return Sample(id=rollout.id, number=rollout.sample, task=rollout.task, prompt_T=rollout.prompt_token_ids,
                  completion_T=rollout.token_ids, logprobs_T=rollout.logprobs or (), temperature=temperature or 1.0,
                  reward=rollout.reward, limit=rollout.sampling.max_tokens if rollout.sampling else None,
                  truncated=rollout.finish_reason == "length",
                  stale=not rescored and is_stale(rollout, policy), rescored=rescored)


def show(samples: Sequence[Sample], rollouts: Sequence[Scored]) -> None:
    """Gives the samples of a group the record with their images; one for all that show the same. What the scripted
    engine makes up has no places for images."""
    shown: list[Scored] = []
    for sample, rollout in zip(samples, rollouts, strict=True):
        if has_images(rollout) and not is_scripted(rollout):
            alike = (other for other in shown if (other.prompt, other.images) == (rollout.prompt, rollout.images))
            sample.prompt = next(alike, rollout)
            shown.append(rollout)


def has_images(prompt: Prompt) -> bool:
    """Whether a record shows images: of its own, or in its messages."""
    messages = [] if isinstance(prompt.prompt, str) else prompt.prompt
    return bool(prompt.images) or any(
        part["type"] in IMAGE_PARTS for message in messages if isinstance(message.get("content"), list)
        for part in message["content"])


def is_stale(rollout: Scored, policy: str | None) -> bool:
    """Whether another policy than this one sampled a rollout, as far as it says. What the scripted engine makes up
    belongs to any policy."""
    return rollout.policy not in (None, policy) and not is_scripted(rollout)


def is_scripted(rollout: Scored) -> bool:
    """Whether the scripted engine made a rollout up, as for dry runs."""
    return rollout.sampling is not None and rollout.sampling.engine.startswith("scripted/")


def has_ids(rollout: Scored) -> bool:
    """Whether the tokens of prompt and completion are known."""
    return bool(rollout.prompt_token_ids) and rollout.token_ids is not None


def is_complete(rollout: Scored) -> bool:
    """Whether the sampler recorded all that training reads."""
    return has_ids(rollout) and rollout.logprobs is not None


def check_complete(rollout: Scored) -> None:
    """Raises InputError unless the sampler recorded all that training reads."""
    if is_complete(rollout):
        return
    found = {"prompt_token_ids": rollout.prompt_token_ids or None, "token_ids": rollout.token_ids,
             "logprobs": rollout.logprobs}
    lacking = [field for field, values in found.items() if values is None]
    what = f"{lacking[0]}: expected for training, missing" if len(lacking) < len(found) else (
        "text alone, as servers other than vLLM's give it; training needs token ids and log-probs")
    raise InputError(f"prompt {rollout.id!r}, sample {rollout.sample}: {what}; --score-missing (train.score_missing) "
                     "computes what is missing, or sample with an engine that records it")


def check(rollout: Scored, vocabulary: int) -> None:
    """Raises InputError unless what there is of a rollout with a reward can be trained on."""
    place = f"prompt {rollout.id!r}, sample {rollout.sample}"
    token_ids, prompt_ids, logprobs = rollout.token_ids or (), rollout.prompt_token_ids or (), rollout.logprobs or ()
    if rollout.logprobs is not None and len(token_ids) != len(logprobs):
        raise InputError(f"{place}: logprobs: expected one for each of the {len(token_ids)} token_ids, "
                         f"found {len(logprobs)}")
    for field, ids in (("prompt_token_ids", prompt_ids), ("token_ids", token_ids)):
        if ids and not (min(ids) >= 0 and max(ids) < vocabulary):
            found = next(i for i in ids if not 0 <= i < vocabulary)
            raise InputError(f"{place}: {field}: expected ids below the vocabulary's {vocabulary}, found {found}; "
                             "was it sampled from another model?")
    if not math.isfinite(sum(logprobs)) or not math.isfinite(rollout.reward or 0.0):
        field = "logprobs" if not math.isfinite(sum(logprobs)) else "reward"
        raise InputError(f"{place}: {field}: expected finite numbers, found NaN or infinity; drop the record")
    if max(logprobs, default=0.0) > ROUNDING:
        raise InputError(f"{place}: logprobs: expected logarithms of probabilities, found {max(logprobs):g}; "
                         "are they probabilities, or negated?")
    if min(logprobs, default=0.0) < IMPOSSIBLE:
        raise InputError(f"{place}: logprobs: expected those of tokens that were drawn, found "
                         f"{min(logprobs):g}; drop the record")


def refuse_stale(seen: Sequence[Scored], samples: Sequence[Sample], policy: str | None) -> None:
    """Raises InputError that names the first stale sample and both policies."""
    stale = [sample for sample in samples if sample.stale]
    if stale:
        sampler = next(r.policy for r in seen if r.id == stale[0].id and r.sample == stale[0].number)
        raise InputError(f"{stale[0].name}: policy: expected {policy}, the one that is updated, found {sampler} "
                         f"({len(stale)} of {len(samples)} rollouts are stale); sample with the policy that is "
                         "trained on from, or give --allow-stale, which corrects for the difference")


def phase_facts(seen: Sequence[Scored], samples: Sequence[Sample]) -> dict[str, object]:
    """Counts for the metrics; warns of rollouts whose log-probs bias the ratio.

    `scored_missing`: samples whose log-probs were not recorded and are the parent's; neither stale nor biased.
    """
    biased = sum(is_biased(rollout.sampling) for rollout in seen
                 if rollout.reward is not None and rollout.logprobs is not None)
    if biased:
        log.warning("%d of %d rollouts were sampled greedily or with top-p or top-k, whose log-probs bias the ratio; "
                    "sample with temperature above 0, top-p 1 and top-k 0", biased, len(samples))
    return {"rollouts": len(seen), "null_rewards": len(seen) - len(samples), "biased_sampling": biased,
            "stale_policy": sum(sample.stale for sample in samples),
            "scored_missing": sum(sample.rescored for sample in samples),
            "truncated": sum(sample.truncated for sample in samples), "reward": reward_by_task(samples)}


def is_biased(sampling: Sampling | None) -> bool:
    """Whether recorded log-probs are not those of the model's own distribution at the recorded temperature."""
    return sampling is not None and (sampling.top_p < 1 or sampling.top_k > 0 or sampling.temperature == 0)


def reward_by_task(samples: Sequence[Sample]) -> dict[str, float]:
    """Mean reward of each task that occurs."""
    rewards: dict[str, list[float]] = {}
    for sample in samples:
        rewards.setdefault(sample.task, []).append(sample.reward)
    return {task: math.fsum(values) / len(values) for task, values in sorted(rewards.items())}
