from pathlib import Path

import pytest
from tests.run.report.conftest import Write, row, scored

from sparkcli.run.report.album import Album
from sparkcli.run.report.figures import Figures, listed
from sparkcli.run.report.reading import read_records


@pytest.fixture
def figures(write: Write) -> Figures:
    failed = {**scored("e", "error")[0], "finish_reason": "error", "error": "too long", "completion": ""}
    path: Path = write(*scored("a", "correct", "correct"), *scored("b", "correct", "wrong"),
                       *scored("c", "no_answer", "wrong"), *scored("d", "timeout"), failed,
                       *scored("j", "wrong", task="judge"), row("waiting", task="judge"))
    return read_records(str(path), 9, Album()).figures


def test_verdicts_and_groups_by_task(figures: Figures):
    solve = figures.tasks["solve"]
    assert solve.words == {"correct": 3, "wrong": 2, "no_answer": 1, "timeout": 1, "not_sampled": 1}
    assert solve.kinds == {"all_right": 1, "mixed": 1, "all_wrong": 1, "unknown": 2}
    assert solve.with_signal == 1
    assert (solve.prompts, solve.samples, solve.reward) == (5, 8, 0.5)
    assert (figures.tasks["judge"].prompts, figures.tasks["judge"].kinds) == (2, {"all_wrong": 1})


def test_accuracy_is_over_prompts_and_unknown_takes_no_part(figures: Figures):
    accuracy = figures.tasks["solve"].accuracy
    assert (accuracy.accuracy, accuracy.n, accuracy.unknown) == (0.5, 3, 2)
    assert accuracy.stderr == pytest.approx((0.25 + 0 + 0.25) ** 0.5 / 3)


def test_lengths_of_what_was_sampled(figures: Figures):
    assert figures.tasks["solve"].lengths == {"median": 3, "90 % within": 3, "longest": 3}
    assert figures.tasks["solve"].tokens.total() == 7
    assert Figures().total.lengths == {}


def test_all_tasks_together(figures: Figures):
    assert (figures.total.prompts, figures.total.samples, figures.total.words["wrong"]) == (7, 9, 3)
    assert figures.kinds == {"scored": 9, "prompt": 1}


def test_counts_are_listed_in_a_known_order(figures: Figures):
    assert listed(figures.total.words, ("no_answer", "gold_unparseable", "correct"))[:3] == [
        ("no_answer", 1), ("correct", 3), ("wrong", 3)]
