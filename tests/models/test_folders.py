"""Directories that appear whole: what is replaced, in which steps, and what is refused beforehand."""

import os
from pathlib import Path

import pytest

from sparkcli.errors import UsageError
from sparkcli.models import folders
from sparkcli.models.folders import check_replaceable, whole_directory


def write(directory: Path, text: str) -> None:
    with whole_directory(directory, "marker") as folder:
        (folder / "marker").write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_replaced_directory_is_the_new_one_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                   exchanges: bool) -> None:
    if not exchanges:
        monkeypatch.setattr(folders, "_exchanged", lambda first, second: False)
    write(tmp_path / "p", "old")
    (tmp_path / "p" / "more").touch()
    write(tmp_path / "p", "new")
    assert (names(tmp_path), names(tmp_path / "p")) == (["p"], ["marker"])
    assert (tmp_path / "p" / "marker").read_text() == "new"


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="not Linux: no two directories change places in one step")
def test_directories_change_places_in_one_step(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    write(first, "1")
    write(second, "2")
    assert folders._exchanged(first, second)
    assert [(folder / "marker").read_text() for folder in (first, second)] == ["2", "1"]
    assert not folders._exchanged(first, tmp_path / "nowhere")


def test_a_link_stays_a_link_to_what_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    write(tmp_path / "runs" / "7", "old")
    (tmp_path / "latest").symlink_to(tmp_path / "runs" / "7")
    write(tmp_path / "latest", "new")
    assert (tmp_path / "latest").is_symlink()
    assert (tmp_path / "runs" / "7" / "marker").read_text() == "new"
    assert (names(tmp_path), names(tmp_path / "runs")) == (["latest", "runs"], ["7"])


def test_a_place_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file is no folder; give another directory"):
        check_replaceable(tmp_path / "file" / "a" / "p", "marker")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_in_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(UsageError, match="locked is not yours to write in"):
        check_replaceable(tmp_path / "locked" / "a" / "p", "marker")


def test_every_file_can_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with whole_directory(tmp_path / "p", "marker") as folder:
            (folder / "marker").touch(mode=0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "p" / "marker").stat().st_mode & 0o777 == 0o640
