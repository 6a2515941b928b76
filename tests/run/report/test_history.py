from pathlib import Path

import pytest

from sparkcli.errors import InputError
from sparkcli.run.report.curves import Point
from sparkcli.run.report.history import History, read_history
from sparkcli.run.state import RunFolder


@pytest.fixture
def history(run_folder: Path) -> History:
    return read_history(RunFolder(run_folder))


def test_steps_that_count(history: History):
    assert (history.done, history.steps, [entry["step"] for entry in history.metrics]) == (2, 4, [1, 2])
    assert history.seconds == 9.0


def test_settings_that_are_not_the_default(history: History):
    assert history.changed == [("loop.steps", 4), ("train.lr", 0.0001)]
    assert "lr = 0.0001" in history.settings


def test_results_of_the_evaluations_on_all_items(history: History):
    assert [evaluation.name for evaluation in history.whole] == ["before"]
    assert [(name, [cell["accuracy"] for cell in cells]) for name, cells in history.table("abilities")] == [
        ("solve", [0.25]), ("self_reflection", [None])]
    assert history.table("scaling") == []


def test_a_run_that_went_on_has_several_afters(run_folder: Path):
    for step in (2, 10):
        (run_folder / "heldout" / f"after-{step:06d}.json").write_text('{"abilities": {"new": {"accuracy": 1.0}}}')
    history = read_history(RunFolder(run_folder))
    assert [evaluation.name for evaluation in history.whole] == ["before", "after step 2", "after step 10"]
    assert dict(history.table("abilities"))["new"] == [None, {"accuracy": 1.0}, {"accuracy": 1.0}]


def test_what_is_drawn(history: History):
    drawn = {panel.name: {series.name: list(series.points) for series in panel.series} for panel in history.panels()}
    assert list(drawn) == ["reward", "abilities", "loss", "kl", "entropy", "grad_norm", "completion_tokens", "queue",
                           "seconds"]
    assert drawn["reward"] == {"solve": [Point(1, 0.25), Point(2, 0.5)], "judge": [Point(2, 0.75)]}
    assert drawn["abilities"] == {"solve": [Point(0, 25.0, 12.5), Point(2, 50.0, 20.0)]}
    assert drawn["loss"] == {"policy update": [Point(1, 0.5)], "recycled update": [Point(2, 0.5)]}
    assert drawn["seconds"] == {"rollout": [Point(1, 1.0), Point(2, 1.0)], "train": [Point(1, 2.0), Point(2, 2.0)]}


def test_a_run_that_has_only_begun(tmp_path: Path):
    (tmp_path / "recipe.toml").write_text("[loop]\nsteps = 4\n")
    history = read_history(RunFolder(tmp_path))
    assert (history.done, history.whole, history.panels()) == (0, [], [])


def test_a_folder_that_is_no_run(tmp_path: Path):
    with pytest.raises(InputError, match=r"is no run, there is no recipe\.toml in it; name"):
        read_history(RunFolder(tmp_path))
