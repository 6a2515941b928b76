"""From the name of a model to its folder, or to one line that says what to try."""

from pathlib import Path

import pytest

from sparkcli.errors import UsageError
from sparkcli.models.locate import model_folder


def test_a_folder_is_itself(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    assert model_folder(str(tmp_path)) == tmp_path


def test_the_built_in_model_is_in_the_package() -> None:
    assert (model_folder("builtin:tiny-math") / "config.json").is_file()


@pytest.mark.parametrize(("name", "message"), [
    ("builtin:tiny-mth", "did you mean 'builtin:tiny-math'?"),
    ("tiny-math", "did you mean 'builtin:tiny-math'?"),
    ("models/qwen", "HF_HUB_OFFLINE is set"),
    ("./models/qwen", "no such folder; did you mean 'models/qwen2'?"),
    ("a/b/c", "no such folder"),
    ("file", "is a file"),
    ("models", "no config.json"),
    ("policy", "this is a policy: give it as --policy"),
])
def test_anything_else_is_an_error_of_one_line(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "qwen2").mkdir(parents=True)
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "trainer_state.json").touch()
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        model_folder(name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
