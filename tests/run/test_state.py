"""The run directory: what counts, what gives way, who holds it."""

import json
import os
from pathlib import Path

import pytest

from sparkcli.errors import InputError, UsageError
from sparkcli.run.state import RunFolder, locked


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path)
    folder.recipe.write_text("")
    folder.tidy(keep=2)
    return folder


def finish(folder: RunFolder, number: int, **metrics: int) -> None:
    folder.step(number).mkdir(exist_ok=True)
    (folder.step(number) / "queue.jsonl").write_bytes(b"")
    folder.finish_step(number, dict(metrics), {"all": 1.5})


def test_a_step_counts_once_its_state_is_written(folder: RunFolder) -> None:
    assert folder.finished_steps() == 0
    finish(folder, 1, queue=3)
    assert folder.finished_steps() == 1
    assert folder.metrics() == [{"step": 1, "queue": 3}]


def test_lines_of_a_step_that_did_not_finish_give_way(folder: RunFolder) -> None:
    finish(folder, 1, queue=1)
    finish(folder, 2, queue=2)
    (folder.path / "state.json").write_text('{"step": 1}')
    finish(folder, 2, queue=22)
    assert folder.metrics() == [{"step": 1, "queue": 1}, {"step": 2, "queue": 22}]


def test_seconds_are_those_of_steps_and_evaluations(folder: RunFolder) -> None:
    folder.note_evaluation("before", 0, 10.0)
    finish(folder, 1)
    finish(folder, 2)
    folder.note_evaluation("after", 2, 20.0)
    assert folder.seconds() == 33.0
    finish(folder, 3)  # a run that is continued keeps the time of the evaluation that was its last
    assert folder.seconds() == 34.5


def test_tidying_removes_the_step_under_way_what_was_half_written_and_what_is_old(folder: RunFolder) -> None:
    for number in range(1, 5):
        finish(folder, number)
        (folder.path / "policy" / f"{number:06d}").mkdir()
    folder.step(5).mkdir()
    (folder.step(5) / "rollouts.jsonl").write_text("half")
    (folder.path / "policy" / ".000005.tmp-0a1b").mkdir()
    (folder.path / ".metrics.jsonl.partial").write_text("half")
    (folder.path / ".mine").write_text("not ours to remove")
    folder.tidy(keep=2)
    assert sorted(path.name for path in (folder.path / "steps").iterdir()) == ["000003", "000004"]
    assert sorted(path.name for path in (folder.path / "policy").iterdir()) == ["000003", "000004"]
    assert [path.name for path in folder.path.iterdir() if path.name.startswith(".")] == [".mine"]


@pytest.mark.parametrize("content", ["{}", "[]", '{"step": "1"}', "not JSON"])
def test_a_broken_state_is_named(folder: RunFolder, content: str) -> None:
    (folder.path / "state.json").write_text(content)
    with pytest.raises(InputError, match=r"state\.json"):
        folder.finished_steps()


def test_who_holds_the_lock_is_told(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(UsageError, match=f"process {os.getpid()}"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_file_is_no_run_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be a run directory"), locked(tmp_path / "file"):
        pass


def test_what_a_killed_start_left_is_no_foreign_folder(tmp_path: Path) -> None:
    for name in ("lock", ".recipe.toml.partial"):
        (tmp_path / name).write_text("")
    RunFolder(tmp_path).check_free_or_run()
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match="thesis"):
        RunFolder(tmp_path).check_free_or_run()


def test_the_summary_is_json_for_people(folder: RunFolder) -> None:
    folder.write_summary({"steps": 3})
    text = (folder.path / "summary.json").read_text()
    assert json.loads(text) == {"steps": 3}
    assert text == '{\n  "steps": 3\n}\n'
