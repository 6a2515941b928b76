"""Test-time scaling on a model whose answers and verdicts are known."""

from collections.abc import Callable

import pytest
from tests.bench.conftest import Model, boxed, problem, shown_to_judge

from sparkcli.bench.scaling import best, mean_share, scaling, voted
from sparkcli.bench.stages import Stages
from sparkcli.records import Judged, Judgement, Prompt, Scored, Verdict

SAMPLES = {
    "agreed": ("7", "7", "8"),    # the majority is right
    "outvoted": ("8", "8", "7"),  # it is not, but a judge can find the right one
    "lost": ("8", "8", "9"),      # nothing to find
    "silent": (None, None, None),
}
GREEDY = {"agreed": "7", "outvoted": "7", "lost": "8", "silent": "8"}


def reply(prompt: Prompt, number: int, greedy: bool) -> str:
    """Solves as above, judges perfectly, and reflects wrongly."""
    if prompt.task == "judge":
        return boxed("Yes" if shown_to_judge(prompt) == "7" else "No")
    if prompt.task == "reflect":
        return boxed("6")
    answer = GREEDY[prompt.id] if greedy else SAMPLES[prompt.id][number]
    return "I do not know." if answer is None else boxed(answer)


def test_accuracies_by_hand(stages: Callable[..., Stages]) -> None:
    found = scaling([problem(id) for id in SAMPLES], stages(Model(reply)), samples=3)
    assert {name: value.accuracy for name, value in found.items()} == {
        "greedy": 2 / 4, "sampled": (2 / 3 + 1 / 3 + 0 + 0) / 4, "majority": 1 / 4, "best_of_n": 2 / 4,
        "self_reflection": 1 / 4, "pass_at_n": 2 / 4}
    assert {value.n for value in found.values()} == {4}


def test_equal_answers_of_a_problem_are_judged_once(stages: Callable[..., Stages]) -> None:
    model = Model(reply)
    stages_ = stages(model, rounds=0)
    scaling([problem("agreed")], stages_, samples=3)
    assert sorted(shown_to_judge(prompt) for prompt in model.asked if prompt.task == "judge") == ["7", "8"]


def scored(*answers: str | None, rewards: tuple[float | None, ...] | None = None) -> list[Scored]:
    """Samples of one problem."""
    rewards = rewards or tuple(float(answer == "7") for answer in answers)
    return [Scored(id="p", prompt="?", sample=number, samples=len(answers), reward=reward,
                   completion="" if answer is None else boxed(answer),
                   verdict=Verdict(status="correct" if reward else "wrong", verifier="exact"))
            for number, (answer, reward) in enumerate(zip(answers, rewards, strict=True))]


def judged(*answers_and_scores: tuple[str | None, float | None]) -> list[Judged]:
    return [Judged(id="p", prompt="?", sample=number, samples=len(answers_and_scores),
                   completion="" if answer is None else boxed(answer),
                   judgement=Judgement(mode="pointwise", status="no_verdict" if score is None else "ok", score=score,
                                       votes=int(score is not None), asked=1))
            for number, (answer, score) in enumerate(answers_and_scores)]


@pytest.mark.parametrize(("answers", "picked"), [
    (("8", "7", "7"), 1),
    (("8", "7", "9"), 0),         # a tie: the first
    ((None, None, "7"), 2),       # no answer is no vote
    ((None, None), None),
    (("$7$", "8", "7"), 0),       # spelled differently, counted together
])
def test_voting(answers: tuple[str | None, ...], picked: int | None) -> None:
    assert voted(scored(*answers)) == picked


@pytest.mark.parametrize(("answers_and_scores", "picked"), [
    ([("8", 0.0), ("7", 1.0), ("9", 0.0)], 1),
    ([("8", 1.0), ("7", 1.0), ("7", 1.0)], 1),           # both accepted: the more frequent
    ([("8", 1.0), ("7", 1.0)], 0),                       # as frequent: the first
    ([("8", 0.0), ("7", 0.0), ("7", 0.0)], 1),           # all rejected: the vote decides
    ([("8", None), ("7", None), ("7", None)], 1),        # no verdict at all: the vote decides
    ([("8", None), ("7", 0.0)], 1),                      # no verdict is no acceptance
    ([(None, None)], None),
])
def test_best_of_n(answers_and_scores: list[tuple[str | None, float | None]], picked: int | None) -> None:
    assert best(judged(*answers_and_scores)) == picked


def test_samples_of_one_problem_count_as_one() -> None:
    """Two problems, one always and one never right: the error is that of two draws, not of eight."""
    found = mean_share([scored("7", "7", "7", "7"), scored("8", "8", "8", "8")])
    assert (found.accuracy, found.n) == (0.5, 2)
    assert found.stderr == pytest.approx(0.5 / 2**0.5)


def test_a_problem_that_cannot_be_verified_takes_no_part() -> None:
    found = mean_share([scored("7"), scored("7", "7", rewards=(None, None))])
    assert (found.accuracy, found.n, found.unknown) == (1.0, 1, 1)
    assert mean_share([]).accuracy is None
