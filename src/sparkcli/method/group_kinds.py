"""What a prompt group came to, and whether it teaches anything: decided here for every stage that counts groups.

The kind is about outcomes, what the verifier found; whether there is a signal is about rewards, what is trained on.
Shaping terms part the two: of two right answers the longer one may be worth less.

    all_right      every known outcome is 1
    all_wrong      every known outcome is 0 (or less)
    equal_partial  every known outcome is the same partial score
    mixed          the known outcomes differ
    unknown        no outcome is known

A group carries a signal where its known rewards differ, by more than rounding: else every advantage within the group
is 0 (zero variance). `reinforce++` compares rewards over the whole call and can learn from groups without one.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from sparkcli.method.advantages import is_constant

GroupKind = Literal["all_right", "all_wrong", "equal_partial", "mixed", "unknown"]
GROUP_KINDS: tuple[GroupKind, ...] = get_args(GroupKind)


def outcome_of(reward: float | None, terms: Mapping[str, float] | None) -> float | None:
    """What the verifier found of one sample, without shaping terms; None where it is unknown.

    >>> outcome_of(0.7, {"outcome": 1.0, "overlong": -0.3}), outcome_of(0.5, None), outcome_of(None, None)
    (1.0, 0.5, None)
    """
    return reward if reward is None or terms is None else terms.get("outcome", reward)


def group_kind(outcomes_G: Sequence[float | None]) -> GroupKind:
    """The kind of a group with these outcomes; unknown ones take no part.

    >>> group_kind([1.0, 1.0, None]), group_kind([0.5, 0.5]), group_kind([0.5, 1.0]), group_kind([None])
    ('all_right', 'equal_partial', 'mixed', 'unknown')
    """
    known = [outcome for outcome in outcomes_G if outcome is not None]
    if not known:
        return "unknown"
    if min(known) >= 1:
        return "all_right"
    if max(known) <= 0:
        return "all_wrong"
    return "equal_partial" if is_constant(known) else "mixed"


def has_signal(rewards_G: Sequence[float | None]) -> bool:
    """Whether a group with these rewards, shaping included, tells better samples from worse; null ones take no part.

    >>> has_signal([1.0, 0.0, None]), has_signal([1.0, None]), has_signal([0.1 + 0.2, 0.3])
    (True, False, False)
    """
    return not is_constant([reward for reward in rewards_G if reward is not None])


def listed_kinds(counts: Mapping[str, int]) -> str:
    """Counts of groups by kind as words, the most frequent first.

    >>> listed_kinds({"all_right": 1, "mixed": 2, "unknown": 0})
    '2 mixed, 1 all right'
    """
    found = sorted(((number, kind) for kind, number in counts.items() if number), key=lambda pair: -pair[0])
    return ", ".join(f"{number} {kind.replace('_', ' ')}" for number, kind in found) or "none"
