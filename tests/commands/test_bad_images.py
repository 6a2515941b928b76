"""Images that cannot be shown, through the commands: each a clear line that names the record, and the rest goes on."""

import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.commands.conftest import Cli
from tests.files.test_images import png
from tests.models.vision import write_vision_model

BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "no such file; paths are relative to the file that names them"),
    "truncated.jpg": (lambda path: path.write_bytes(picture("JPEG")[:900]), "image file is truncated"),
    "text.png": (lambda path: path.write_text("no picture\n"), "; it is a text file"),
    "empty.png": (lambda path: path.touch(), "is empty; was the file written whole?"),
    "folder.png": (lambda path: path.mkdir(), "is a directory; name the image in it"),
    "large.png": (lambda path: path.write_bytes(png(10_000, 10_000)), "10000 × 10000 pixels, above 89,478,485"),
    "bomb.png": (lambda path: path.write_bytes(png(60_000, 60_000)), "may be a decompression bomb; scale it down"),
    "nothing.png": (lambda path: path.write_bytes(png(0, 0)), "0 × 0 pixels: there is nothing to see"),
    "http://127.0.0.1:9/a.png": (lambda path: None, "is remote; allow it with --allow-remote-images"),
    "file:///etc/hostname": (lambda path: None, "only http and https URLs are read"),
    "data:image/png;base64,AAAA": (lambda path: None, "no image in a format that is read"),
}
PLACES: dict[str, tuple[dict[str, Any], str]] = {
    "more images": ({"question": "<image> Why?", "images": ["good.png", "good.png"]}, "2 images for 1 place (<image>)"),
    "fewer images": ({"question": "<image> or <image>?", "images": ["good.png"]}, "1 image for 2 places (<image>)"),
    "no such number": ({"question": "<image 3>?", "image_1": "good.png"}, "<image 3> in the question, and the row has "
                                                                          "only image 1"),
    "no image": ({"question": "<image 1>?", "image": None}, "and the row has no image; name the column"),
}


def picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((64, 48), 60).convert("RGB").save(stream, kind)
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with `good.png`."""
    (tmp_path / "good.png").write_bytes(picture("PNG"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, *rows: dict[str, Any]) -> None:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def around(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The row between two good ones."""
    return [{"question": "First?", "answer": "1", "image": "good.png"}, {"answer": "2", **row},
            {"question": "Last?", "answer": "3", "image": "good.png"}]


def ids(text: str, field: str = "answer") -> list[str]:
    return [json.loads(line)[field] for line in text.splitlines()]


@pytest.mark.parametrize("name", BAD)
def test_prepare_stops_at_an_image_that_cannot_be_shown(name: str, cli: Cli, folder: Path):
    make, message = BAD[name]
    make(folder / name)
    write("rows.jsonl", *around({"question": "<image> or <image>?", "images": ["good.png", name]}))
    result = cli("prepare", "rows.jsonl", "-o", "out.jsonl")
    last = result.err.splitlines()[-1]
    assert result.code == 3
    assert last.startswith("sparkcli: rows.jsonl:2: image 2 (") and message in last
    assert sorted(path.name for path in folder.glob("*out*")) == []


@pytest.mark.parametrize("row", PLACES)
def test_prepare_stops_where_images_and_places_do_not_match(row: str, cli: Cli, folder: Path):
    content, message = PLACES[row]
    write("rows.jsonl", *around(content))
    result = cli("prepare", "rows.jsonl")
    last = result.err.splitlines()[-1]
    assert result.code == 3
    assert last.startswith("sparkcli: rows.jsonl:2: ") and message in last


def test_prepare_goes_on_where_rows_may_be_skipped(cli: Cli, folder: Path):
    for name, (make, _) in BAD.items():
        make(folder / name)
    bad = [{"question": "Why?", "answer": "2", "image": name} for name in BAD]
    bad += [{"answer": "2", **row} for row, _ in PLACES.values()]
    good = {"question": "<image> Why?", "answer": "1", "image": "good.png"}
    write("rows.jsonl", *(row for row in bad for row in (good, row)), good)
    result = cli("prepare", "rows.jsonl", "--on-error", "skip")
    assert result.code == 0
    assert ids(result.out) == ["1"] * (len(bad) + 1)
    _, *skipped, total = result.err.splitlines()
    assert [line.split(" ")[3].rstrip(":") for line in skipped] == [f"rows.jsonl:{2 * i + 2}" for i in range(len(bad))]
    assert all(line.startswith("sparkcli: warning: skipped: ") for line in skipped)
    assert total == f"{len(bad) + 1} prompts; {len(bad)} rows skipped"


def test_a_source_without_one_good_row_is_an_error(cli: Cli, folder: Path):
    write("rows.jsonl", {"question": "Why?", "answer": "2", "image": "no.png"})
    result = cli("prepare", "rows.jsonl", "--on-error", "skip", "-o", "out.jsonl", "-q")
    assert (result.code, Path("out.jsonl").exists()) == (3, False)
    assert result.err.startswith("sparkcli: rows.jsonl: none of 1 rows makes a prompt; the first: rows.jsonl:1: image")
    assert result.err.count("\n") == 1


def test_images_without_files_need_a_folder(cli: Cli, folder: Path):
    import pyarrow
    import pyarrow.parquet

    rows = [{"question": "Why?", "answer": "2", "image": {"bytes": picture("PNG"), "path": None}}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), "rows.parquet")
    refused = cli("prepare", "rows.parquet", "--on-error", "skip")
    assert (refused.code, refused.out) == (2, "")
    assert "name a folder to keep such images in with --images DIR, or write the prompts to a file" in refused.err
    kept = cli("prepare", "rows.parquet", "--images", "kept")
    assert (kept.code, Path(json.loads(kept.out)["images"][0]).parent) == (0, folder / "kept")


@pytest.fixture
def site(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """The working folder on a server, and the paths that were asked for."""
    asked: list[str] = []

    class Site(SimpleHTTPRequestHandler):
        def log_message(self, *told: object) -> None:
            asked.append(self.path)

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_remote_images_are_fetched_once_and_kept(cli: Cli, folder: Path, site: tuple[str, list[str]]):
    address, asked = site
    write("rows.jsonl", *({"question": "Why?", "answer": str(i), "image": f"{address}/good.png"} for i in range(3)))
    assert cli("prepare", "rows.jsonl", "-o", "out.jsonl").code == 3
    assert asked == []
    result = cli("prepare", "rows.jsonl", "-o", "out.jsonl", "--allow-remote-images")
    assert (result.code, asked) == (0, ["/good.png"])
    [kept] = {json.loads(line)["images"][0] for line in Path("out.jsonl").read_text().splitlines()}
    assert (folder / kept).read_bytes() == (folder / "good.png").read_bytes() and kept.startswith("out-images/")


def test_rollout_without_a_model_needs_no_images(cli: Cli, folder: Path):
    write("prompts.jsonl", {"id": "a", "prompt": "Why?", "images": ["no.png"]})
    result = cli("rollout", "prompts.jsonl", "--engine", "scripted", "-n", "1")
    assert (result.code, json.loads(result.out)["images"]) == (0, [str(folder / "no.png")])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vision_model(tmp_path_factory.mktemp("vision"))


def test_rollout_goes_on_past_images_that_cannot_be_shown(cli: Cli, folder: Path, model: Path):
    """Each is the error of its own prompt, named in its record; the others are sampled."""
    for name, (make, _) in BAD.items():
        make(folder / name)
    bad = [{"id": f"bad-{i}", "prompt": "Why?", "images": ["good.png", name]} for i, name in enumerate(BAD)]
    more = {"id": "more", "prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]}
    fewer = {**more, "id": "fewer", "images": ["good.png", "good.png"]}
    good = [{"id": f"good-{i}", "prompt": "Why?", "images": ["good.png"]} for i in range(2)]
    write("prompts.jsonl", good[0], *bad, more, fewer, good[1])
    result = cli("rollout", "prompts.jsonl", "-m", model, "--engine", "transformers", "-n", "1", "--max-tokens", "2")
    assert result.code == 0, result.err
    found = {record["id"]: record for record in map(json.loads, result.out.splitlines())}
    assert [id for id, record in found.items() if record["finish_reason"] != "error"] == ["good-0", "good-1"]
    for i, (name, (_, message)) in enumerate(BAD.items()):
        assert "image 2 (" in found[f"bad-{i}"]["error"] and message in found[f"bad-{i}"]["error"], name
        assert found[f"bad-{i}"]["error"].startswith(f"prompt 'bad-{i}': ")
    assert "images: 0 for 1 places" in found["more"]["error"] and "images: 2 for 1 places" in found["fewer"]["error"]
    assert f"{len(bad) + 2} of {len(bad) + 4} prompts could not be sampled; the first error: prompt " in result.err


def test_the_real_way_from_rows_to_recycled_prompts(cli: Cli, folder: Path, model: Path, shared_data: Path):
    source = shared_data / "mathvision" / "testmini.jsonl"
    assert cli("prepare", source, "--on-error", "skip", "--limit", "6", "-o", "prompts.jsonl").code == 0
    sampled = cli("rollout", "prompts.jsonl", "-m", model, "--engine", "transformers", "-n", "2", "--max-tokens", "4",
                  "--max-pixels", "20000")
    assert sampled.code == 0, sampled.err
    rollouts = [json.loads(line) for line in sampled.out.splitlines()]
    for rollout in rollouts:  # the model is untrained: what it might have said, half of it right
        rollout["completion"] = f"I see. \\boxed{{{'none' if rollout['sample'] else rollout['answer']}}}"
    scored = cli("verify", stdin="".join(json.dumps(rollout) + "\n" for rollout in rollouts))
    assert scored.code == 0, scored.err
    recycled = cli("recycle", stdin=scored.out)
    prompts = [json.loads(line) for line in recycled.out.splitlines()]
    assert recycled.code == 0
    assert {prompt["task"] for prompt in prompts} >= {"compare", "reflect"}
    assert all(Path(image).is_file() for prompt in prompts for image in prompt["images"])
    again = cli("rollout", "-m", model, "--engine", "transformers", "-n", "1", "--max-tokens", "2",
                "--max-pixels", "20000", stdin=recycled.out)
    assert again.code == 0, again.err
    assert not any("error" in json.loads(line) for line in again.out.splitlines())


@pytest.mark.parametrize("command", ["judge", "reflect"])
def test_questions_about_an_image_that_is_gone_are_told(cli: Cli, folder: Path, command: str) -> None:
    """Their prompts stand in no file."""
    shown = [{"id": name, "prompt": "What?", "answer": "4", "images": [f"{name}.png"], "sample": 0, "samples": 1,
              "completion": "\\boxed{3}"} for name in ("gone", "good")]
    write("rollouts.jsonl", *shown)
    write("gone.jsonl", shown[0])
    arguments = ("-m", "builtin:tiny-vision", "--max-tokens", "4", "-o", "out.jsonl")
    some = cli(command, "rollouts.jsonl", *arguments)
    assert some.code == 0
    assert "of 2 prompts could not be sampled; the first error: prompt 'gone/0/" in some.err and "gone.png" in some.err
    none = cli(command, "gone.jsonl", *arguments)
    assert none.code == 1 and "no prompt could be sampled; the first error: prompt 'gone/0/" in none.err
    assert len(Path("out.jsonl").read_text().splitlines()) == 1
