from pathlib import Path

import pytest

from sparkcli.errors import UsageError
from sparkcli.files.templates import KINDS, read_templates

ONE = '[[template]]\nname = "x"\n'


def written(folder: Path, **texts: str) -> Path:
    for kind in KINDS:
        (folder / f"{kind}.toml").write_text(texts.get(kind, ONE))
    return folder


def test_the_built_in_files_are_read() -> None:
    assert all(len(read_templates()[kind]) >= 10 for kind in KINDS)


def test_a_folder_of_ones_own_is_read(tmp_path: Path) -> None:
    assert read_templates(written(tmp_path)) == {kind: [{"name": "x"}] for kind in KINDS}


@pytest.mark.parametrize(("text", "message"), [
    ("[[template]]\nname =", "pairwise.toml: not TOML"),
    ("", r"pairwise.toml: no \[\[template\]\]"),
    ('[template]\nname = "x"', "expected .*two brackets"),
    ("template = [1]", "expected .*two brackets"),
    ("[[templates]]", "pairwise.toml: templates: unknown key"),
])
def test_a_wrong_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_templates(written(tmp_path, pairwise=text))


def test_a_missing_file_or_folder_is_named_with_what_belongs_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere.pointwise\.toml: No such file.*pairwise\.toml"):
        read_templates(tmp_path / "nowhere")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    folder = written(tmp_path)
    (folder / "reflection.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"reflection\.toml: not TOML"):
        read_templates(folder)
