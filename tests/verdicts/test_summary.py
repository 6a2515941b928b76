"""What a stream of verdicts comes to, in numbers."""

import dataclasses

from sparkcli.records import STATUSES_WITH_REWARD, Scored, Status, Verdict
from sparkcli.verdicts.summary import Summary


def scored(name: str, status: Status, task: str = "solve") -> Scored:
    return Scored(id=name, prompt="?", sample=0, samples=1, completion="", task=task,  # type: ignore[arg-type]
                  verdict=Verdict(status=status, verifier="math"), reward=STATUSES_WITH_REWARD.get(status))


def test_counts():
    summary = Summary()
    for name, statuses in {"a": ["correct", "correct", "timeout"], "b": ["wrong", "no_answer"],
                           "c": ["correct", "wrong"], "d": ["error"]}.items():
        for status in statuses:
            summary.add(scored(name, status, "judge" if name == "c" else "solve"))  # type: ignore[arg-type]
    assert summary.total == 8
    assert summary.reward_mean == 0.5
    assert summary.error_share == 0.25
    assert summary.groups == {"all_right": 1, "all_wrong": 1, "mixed": 1, "unknown": 1}
    assert summary.groups_with_signal == 1
    assert summary.statuses_by_task["judge"] == {"correct": 1, "wrong": 1}
    assert summary.text().splitlines() == [
        "8 verdicts: 3 correct, 2 wrong, 1 timeout, 1 no_answer, 1 error",
        "  judge: 1 correct, 1 wrong",
        "  solve: 2 correct, 1 timeout, 1 wrong, 1 no_answer, 1 error",
        "mean reward 0.500; unknown 25.0%; groups: 1 all right, 1 all wrong, 1 mixed, 1 unknown; "
        "with a signal: 1"]


def test_answers_that_cannot_be_read_are_counted_apart():
    summary = Summary()
    for is_unreadable in (True, False, True):
        verdict = Verdict(status="wrong", verifier="math", is_unreadable=is_unreadable)
        summary.add(dataclasses.replace(scored("a", "wrong"), verdict=verdict))
    assert summary.unreadable == 2
    assert summary.text().splitlines()[0] == "3 verdicts: 3 wrong; unreadable answers among the wrong: 2"


def test_nothing_at_all():
    summary = Summary()
    assert (summary.total, summary.reward_mean, summary.error_share) == (0, None, 0.0)
    assert summary.text() == "0 verdicts: none\nmean reward none; unknown 0.0%; groups: none; with a signal: 0"
