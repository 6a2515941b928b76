"""Which prompts are shown, and that nothing else is kept."""

import gzip
import json
from pathlib import Path

import pytest
from tests.run.report.conftest import Write, picture, row, scored

from sparkcli.errors import InputError
from sparkcli.run.report import reading
from sparkcli.run.report.album import Album
from sparkcli.run.report.reading import read_records


def ids(records: reading.Records) -> list[str]:
    return [group.prompt.id for group in records.shown]


def test_unlike_verdicts_come_first_then_the_order_of_the_file(write: Write):
    path = write(*scored("a", "wrong", "wrong"), *scored("b", "correct", "wrong"), *scored("c", "correct"),
                 *scored("d", "timeout", "wrong"), *scored("e", "correct"))
    assert ids(read_records(str(path), 9, Album())) == ["b", "d", "a", "c", "e"]
    assert ids(read_records(str(path), 3, Album())) == ["b", "d", "a"]
    assert ids(read_records(str(path), 1, Album())) == ["b"]


def test_only_what_may_be_shown_is_kept(write: Write, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "SAMPLES_SHOWN", 2)
    rows = [entry for number in range(50) for entry in scored(f"p{number}", "correct", "wrong", "wrong")]
    records = read_records(str(write(*rows)), 3, Album())
    assert (records.groups, len(records.unlike), len(records.others)) == (50, 3, 0)
    assert [(group.size, len(group.samples)) for group in records.shown] == [(3, 2)] * 3
    assert records.figures.total.samples == 150


def test_prompts_without_samples_are_groups_of_their_own(write: Write):
    records = read_records(str(write(row("a"), row("a"), row("b"))), 9, Album())
    assert [(group.prompt.id, group.number, group.size) for group in records.shown] == [("a", 1, 0), ("a", 2, 0),
                                                                                         ("b", 3, 0)]


def test_images_are_found_beside_the_file_and_told_as_it_has_them(write: Write, tmp_path: Path):
    picture(tmp_path / "figures" / "1.png")
    album = Album()
    read_records(str(write(row("a", images=["figures/1.png"]))), 9, album)
    assert [(shown.name, shown.width, shown.problem) for shown in album] == [("figures/1.png", 640, None)]


def test_compressed_files(tmp_path: Path):
    path = tmp_path / "records.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(row("a")).encode()))
    assert ids(read_records(str(path), 9, Album())) == ["a"]


@pytest.mark.parametrize(("content", "message"), [
    ("", "records.jsonl: empty; expected records as prepare"),
    ("hello", "records.jsonl:1: not JSON"),
    ('{"id": "a", "prompt": "q"}\n[]\n', "records.jsonl:2: expected a JSON object"),
])
def test_files_that_hold_no_records(content: str, message: str, tmp_path: Path):
    path = tmp_path / "records.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_records(str(path), 9, Album())
