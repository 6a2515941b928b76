import base64
import io
from pathlib import Path

import pytest
from PIL import Image
from tests.run.report.conftest import picture

from sparkcli.errors import InputError
from sparkcli.files.images import absolute_images
from sparkcli.records import Prompt
from sparkcli.run.report import album as room
from sparkcli.run.report.album import SIDE, Album, Picture


def seen(album: Album, folder: Path, *images: str, id: str = "p") -> list[Picture]:
    prompt = Prompt(id=id, prompt="?", images=images)
    album.see(prompt, absolute_images(prompt, folder))
    return list(album)


def test_small_copies_keep_their_shape(tmp_path: Path):
    picture(tmp_path / "wide.png", (1000, 10))
    shown, = seen(Album(), tmp_path, "wide.png")
    assert shown.uri and (shown.width, shown.height) == (1000, 10) and shown.shape[0] == SIDE and shown.shape[1] >= 1
    head, _, data = shown.uri.partition(";base64,")
    assert head in ("data:image/png", "data:image/jpeg")
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == shown.shape


def test_an_image_is_copied_once_however_many_prompts_show_it(tmp_path: Path):
    picture(tmp_path / "a.png")
    album = Album()
    seen(album, tmp_path, "a.png", "a.png")
    shown, = seen(album, tmp_path, "a.png", id="q")
    assert (shown.first, shown.prompts) == ("p", 2)


@pytest.mark.parametrize(("reference", "problem"), [
    ("no.png", "no such file"),
    ("text.png", "no image"),
    ("https://example.org/a.png", "is remote; allow it with --allow-remote-images"),
    ("data:text/html,<script>", "no image"),
])
def test_what_cannot_be_opened_says_why_without_the_folder(reference: str, problem: str, tmp_path: Path):
    (tmp_path / "text.png").write_text("not a picture")
    shown, = seen(album := Album(), tmp_path, reference)
    assert shown.uri is None and album.closed == 1
    assert shown.problem and shown.problem.startswith(problem) and str(tmp_path) not in shown.problem + shown.name


def test_prompts_whose_images_have_no_place_are_counted(tmp_path: Path):
    prompt = Prompt(id="p", prompt=[{"role": "user", "content": [{"type": "image"}]}], images=("a.png", "b.png"))
    album = Album()
    album.see(prompt, prompt)
    assert (album.misplaced, list(album)) == (1, [])
    with pytest.raises(InputError, match="2 for 1 places"):
        album.shown(prompt, prompt)


def test_a_page_has_room_for_so_many_and_for_those_that_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(room, "MOST", 2)
    for name in "abcd":
        picture(tmp_path / f"{name}.png")
    album = Album()
    seen(album, tmp_path, "a.png", "b.png", "c.png", "d.png")
    assert (len(album.pictures), len(album.left_out)) == (2, 2)
    prompt = Prompt(id="p", prompt="?", images=("d.png",))
    _, (last,) = album.shown(prompt, absolute_images(prompt, tmp_path))
    assert last.uri and (len(album.pictures), len(album.left_out)) == (3, 1)
