"""What more computing at test time buys: voting, best-of-N by the model's own judge, self-reflection.

    greedy           one greedy answer
    sampled          one sampled answer (mean over the N; its standard error is that of a mean over problems)
    majority         the most frequent of N sampled answers
    best_of_n        the one of N that the model's own judge accepts (the more frequent of those that it does)
    self_reflection  of the first sampled answer: judge, reflect where judged wrong
    pass_at_n        at least one of N is right: what a perfect judge would pick
"""

from collections.abc import Iterable, Sequence

from sparkcli.bench.abilities import accuracy
from sparkcli.bench.stages import Stages
from sparkcli.method.answers import spelling
from sparkcli.method.metrics import Proportion, majority
from sparkcli.method.prompts import answer_of
from sparkcli.records import Judged, Prompt, Scored


def scaling(problems: Sequence[Prompt], stages: Stages, samples: int) -> dict[str, Proportion]:
    """Accuracy of each way to spend `samples` answers on a problem."""
    drawn = stages.drawn(problems, samples)
    judged = iter(stages.judged(drawn))
    judged_groups = [[next(judged) for _ in group] for group in drawn]
    return {
        "greedy": accuracy(stages.verify(stages.greedy(problems))),
        "sampled": mean_share(drawn),
        "majority": Proportion.from_outcomes(_right(group, voted(group)) for group in drawn),
        "best_of_n": Proportion.from_outcomes(_right(group, best(own))
                                              for group, own in zip(drawn, judged_groups, strict=True)),
        "self_reflection": accuracy(stages.reflected([group[0] for group in drawn])),
        "pass_at_n": Proportion.from_outcomes(_any_right(group) for group in drawn),
    }


def voted(group: Sequence[Scored]) -> int | None:
    """Index of a most frequent answer; None where no sample has one."""
    return majority([answer_of(s) for s in group], key=spelling)


def best(group: Sequence[Judged]) -> int | None:
    """Index of the answer with the highest judgement; among equals the most frequent one."""
    scores = [j.judgement.score for j in group]
    top = max((score for score in scores if score is not None), default=None)
    answers = [answer_of(j) if score == top else None for j, score in zip(group, scores, strict=True)]
    return majority(answers, key=spelling)


def mean_share(groups: Iterable[Sequence[Scored]]) -> Proportion:
    """Mean over problems of the share of right samples; `n` counts problems."""
    return Proportion.from_shares(Proportion.from_outcomes(map(_is_right, group)).accuracy for group in groups)


def _right(group: Sequence[Scored], index: int | None) -> bool | None:
    """Whether the picked sample is right; nothing picked is wrong, as an answer that was not given."""
    return False if index is None else _is_right(group[index])


def _any_right(group: Sequence[Scored]) -> bool | None:
    known = [outcome for outcome in map(_is_right, group) if outcome is not None]
    return any(known) if known else None


def _is_right(scored: Scored) -> bool | None:
    return None if scored.reward is None else scored.reward == 1
