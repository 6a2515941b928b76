"""The five abilities of SPARK, measured greedily on held-out items.

    solve            the problem
    pointwise        is this answer right?
    pairwise         which of these two is right?
    reflection       here is a wrong attempt; solve it
    self_reflection  at test time: answer, judge oneself, reflect where judged wrong; the last answer counts
"""

from collections.abc import Iterable

from sparkcli.bench.heldout import HeldOut
from sparkcli.bench.stages import Stages
from sparkcli.method.metrics import Proportion
from sparkcli.records import Scored


def abilities(items: HeldOut, stages: Stages) -> dict[str, Proportion]:
    """Accuracy per ability. A reply without an answer or a verdict is wrong; what cannot be verified takes no part."""
    answers = stages.greedy(items.solve)
    found = {"solve": accuracy(stages.verify(answers))}
    for name in ("pointwise", "pairwise", "reflection"):
        found[name] = accuracy(stages.verify(stages.greedy(getattr(items, name))))
    found["self_reflection"] = accuracy(stages.reflected(answers))
    return found


def accuracy(scored: Iterable[Scored]) -> Proportion:
    """Share of correct verdicts among those that say something."""
    return Proportion.from_outcomes(None if s.reward is None else s.reward == 1 for s in scored)
