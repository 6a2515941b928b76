"""Images from a source to prompts: every kind of cell and column, where they are kept, and rows that are skipped."""

import base64
import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import orjson
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from sparkcli.config import PrepareConfig
from sparkcli.errors import InputError, UsageError
from sparkcli.files.images import load_image
from sparkcli.files.jsonl import Output, open_input, read
from sparkcli.method.messages import chat_of
from sparkcli.records import Prompt, dumps, question_of
from sparkcli.sources.prepare import prepare

PART = {"type": "image"}


def png(colour: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(stream, "PNG")
    return stream.getvalue()


RED, BLUE, LIME = map(png, ("red", "blue", "lime"))


def uri(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with `red.png` and `images/blue.png`."""
    (tmp_path / "images").mkdir()
    (tmp_path / "red.png").write_bytes(RED)
    (tmp_path / "images" / "blue.png").write_bytes(BLUE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def json_lines(*rows: dict[str, Any]) -> str:
    Path("rows.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return "rows.jsonl"


def written(source: str, out: str = "prompts.jsonl", **settings: Any) -> list[Prompt]:
    """The prompts as `prepare -o OUT` writes them, before they are read again."""
    with Output(out, resume=None) as sink:
        for prompt in prepare(source, PrepareConfig(**settings), out=out):
            sink.write(prompt)
    with open_input(out) as lines:
        return [Prompt(**{name: row[name] for name in ("id", "prompt")}, images=tuple(row.get("images", ())))
                for row in map(orjson.loads, lines)]


def contents(path: str = "prompts.jsonl") -> list[list[bytes]]:
    """What stands behind the images of each record of a file."""
    return [[Path(image).read_bytes() for image in record.images] for record in read(path, Prompt)]


def parquet(*rows: dict[str, Any]) -> str:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), "rows.parquet")
    return "rows.parquet"


@pytest.mark.parametrize(("cell", "expected"), [
    ("red.png", [RED]), ("images/blue.png", [BLUE]), ("blue.png", [BLUE]), (["red.png", "blue.png"], [RED, BLUE]),
    ('["red.png", "blue.png"]', [RED, BLUE]), (uri(LIME), [LIME]), ([uri(LIME), None, "", "red.png"], [LIME, RED]),
    ({"path": "red.png", "bytes": None}, [RED]), ({"path": "red.png"}, [RED]), (None, []), ("", []), ([], []),
])
def test_cells_of_json(folder: Path, cell: object, expected: list[bytes]):
    written(json_lines({"question": "Q?", "answer": "2", "image": cell}))
    assert contents() == [expected]


@pytest.mark.parametrize(("cell", "expected"), [
    ({"bytes": RED, "path": "gone.png"}, [RED]), ({"bytes": None, "path": "red.png"}, [RED]), (RED, [RED]),
    ([{"bytes": RED, "path": None}, {"bytes": BLUE, "path": None}], [RED, BLUE]),
])
def test_cells_of_parquet_without_metadata(folder: Path, cell: object, expected: list[bytes]):
    written(parquet({"question": "Q?", "answer": "2", "image": cell}))
    assert contents() == [expected]


def noisy(size: int, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((size, size), 50).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("size", [1, 100])
def test_base64_without_a_header_is_an_image_too(folder: Path, kind: str, size: int):
    content = noisy(size, kind)
    written(json_lines({"question": "Q?", "answer": "2", "image": base64.b64encode(content).decode()}))
    assert contents() == [[content]]


def test_a_list_in_a_cell_of_text_may_hold_whole_images(folder: Path):
    content = noisy(400)
    with open("rows.csv", "w", newline="") as file:
        csv.writer(file).writerow(["question", "answer", "images"])
        csv.writer(file).writerow(["Q?", "2", json.dumps([uri(content), "red.png"])])
    written("rows.csv")
    assert contents() == [[content, RED]]


@pytest.fixture
def dataset(folder: Path) -> str:
    """A folder that is a dataset with Image columns, as `datasets` writes it."""
    features = datasets.Features({
        "id": datasets.Value("string"), "question": datasets.Value("string"), "answer": datasets.Value("string"),
        "image": datasets.Value("string"), "decoded_image": datasets.Image()})
    table = datasets.Dataset.from_list([
        {"id": "a", "question": "Q?", "answer": "2", "image": "images/1.png", "decoded_image": {"bytes": RED}},
        {"id": "b", "question": "Q?", "answer": "3", "image": "", "decoded_image": None}], features=features)
    (folder / "set").mkdir()
    table.to_parquet(folder / "set" / "train.parquet")
    return "set"


@pytest.mark.parametrize("name", ["set", "set/train.parquet"])
def test_image_columns_keep_their_original_bytes(dataset: str, name: str, monkeypatch: pytest.MonkeyPatch,
                                                 tmp_path: Path):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    written(name)
    assert contents() == [[RED], []]
    assert [record.extra for record in read("prompts.jsonl", Prompt)] == [{}, {}]


def test_a_split_that_was_saved_to_disk(dataset: str):
    datasets.Dataset.from_parquet(f"{dataset}/train.parquet").save_to_disk("saved")
    written("saved")
    assert contents() == [[RED], []]


def test_paths_in_a_folder_of_a_dataset_start_from_it(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (folder / "set" / "pictures").mkdir(parents=True)
    (folder / "set" / "pictures" / "1.png").write_bytes(LIME)
    row = {"question": "Q?", "answer": "2", "image": "pictures/1.png"}
    (folder / "set" / "train.jsonl").write_text(json.dumps(row))
    written("set")
    assert contents() == [[LIME]]


def test_a_list_of_images_of_a_dataset(folder: Path):
    features = datasets.Features({"problem": datasets.Value("string"), "images": datasets.List(datasets.Image())})
    datasets.Dataset.from_list([{"problem": "<image> or <image>?", "images": [{"bytes": RED}, {"bytes": BLUE}]},
                                {"problem": "Neither?", "images": None}], features=features).to_parquet("a.parquet")
    prompts = written("a.parquet")
    assert contents() == [[RED, BLUE], []]
    assert [part["type"] for part in chat_of(prompts[0]).messages[0]["content"]] == ["image", "text", "image", "text"]


@pytest.mark.parametrize(("row", "expected"), [
    ({"image_path": "red.png"}, ["red.png"]), ({"imagename": "blue.png"}, ["images/blue.png"]),
    ({"image": None, "images": ["red.png"]}, ["red.png"]), ({"images": [], "image": "red.png"}, ["red.png"]),
    ({"decoded_image": "red.png", "image": "images/gone.png"}, ["red.png"]),
    ({"image_1": "red.png", "image_2": None, "image_3": "blue.png", "image_4": ""}, ["red.png", "images/blue.png"]),
    ({"image_id": 7, "image_size": "small"}, []), ({"file_name": "red.png"}, ["red.png"]),
    ({"file_name": "red.mp3"}, []), ({"file_name": "gone.png", "image_1": "red.png"}, ["red.png"]),
    ({"file_name": "gone.png", "image": "red.png"}, ["red.png"]),
])
def test_columns_that_hold_images(folder: Path, row: dict[str, Any], expected: list[str]):
    [prompt] = prepare(json_lines({"question": "Q?", "answer": "2", **row}), PrepareConfig())
    assert list(prompt.images) == [str(folder / name) for name in expected]
    others = {name: value for name, value in row.items() if name in ("image_id", "image_size") or value == "red.mp3"}
    assert prompt.extra == others


def test_a_prompt_with_an_image_beside_it_is_no_record_yet(folder: Path):
    rows = json_lines({"id": "a", "prompt": "How many?", "answer": "2", "image": "red.png"})
    [prompt] = prepare(rows, PrepareConfig())
    assert (prompt.id, prompt.images) == ("a", (str(folder / "red.png"),))


@pytest.mark.parametrize("path", ["x" * 300 + ".png", "a\0b.png"])
def test_paths_that_cannot_be_are_told_like_missing_ones(folder: Path, path: str):
    with pytest.raises(InputError, match=r"^rows.jsonl:1: image 1 \("):
        list(prepare(json_lines({"question": "Q?", "answer": "2", "image": path}), PrepareConfig()))


def test_rows_may_differ_in_where_they_have_images(folder: Path):
    rows = [{"question": "Q?", "answer": "1"}, {"question": "Q?", "answer": "2", "image": "red.png"},
            {"question": "Q?", "answer": "3", "images": ["blue.png"]}]
    assert [len(prompt.images) for prompt in prepare(json_lines(*rows), PrepareConfig())] == [0, 1, 1]


def test_the_user_may_name_the_column(folder: Path):
    rows = json_lines({"question": "Q?", "answer": "2", "image": "gone.png", "photo": {"file": "red.png"}})
    [prompt] = prepare(rows, PrepareConfig(map=("images=photo.file",)))
    assert prompt.images == (str(folder / "red.png"),)


MMMU = {"id": "validation_Geography_7", "question": "The map <image 1> shows an island. Which profile is P-Q's?",
        "options": "['<image 2>', '<image 3>', \"It can't be drawn\", 'None']", "answer": "B",
        "image_1": {"bytes": RED}, "image_2": {"bytes": BLUE}, "image_3": {"bytes": LIME}, "image_4": {"bytes": RED},
        "image_5": None}


def test_options_may_be_images(folder: Path):
    told: list[str] = []
    [prompt] = prepare(parquet(MMMU), PrepareConfig(images="kept"), told.append)
    assert isinstance(prompt.prompt, list)
    assert prompt.prompt[0]["content"] == [
        {"type": "text", "text": "The map "}, PART,
        {"type": "text", "text": " shows an island. Which profile is P-Q's?\n(A) "}, PART,
        {"type": "text", "text": "\n(B) "}, PART, {"type": "text", "text": "\n(C) It can't be drawn\n(D) None"}]
    assert [Path(image).read_bytes() for image in prompt.images] == [RED, BLUE, LIME]
    assert prompt.verifier == {"name": "choice", "options": ["<image 2>", "<image 3>", "It can't be drawn", "None"]}
    assert told[1:] == ["rows.parquet: row 1: an image of which the question does not speak is not sent"]
    assert "row_question" not in prompt.extra


@pytest.mark.parametrize(("row", "expected"), [
    ({"options": ["8 kg", "12 kg"]}, "How heavy?\n(A) 8 kg\n(B) 12 kg"),
    ({"choices": "['8 kg', '12 kg']"}, "How heavy?\n(A) 8 kg\n(B) 12 kg"),
    ({"option": "A. 8 kg; B. 12 kg"}, "How heavy?\n(A) 8 kg\n(B) 12 kg"),
    ({"options": ["A. 8 kg", "B. 12 kg"]}, "How heavy?\nA. 8 kg\nB. 12 kg"),
    ({"options": ["A", "B", "C"]}, "How heavy?"), ({"options": ["(A)", "(B)"]}, "How heavy?"),
    ({"options": []}, "How heavy?"), ({"options": "[]"}, "How heavy?"), ({"options": None}, "How heavy?"),
])
def test_options_are_written_after_the_question(folder: Path, row: dict[str, Any], expected: str):
    [prompt] = prepare(json_lines({"question": "How heavy?", "answer": "B", **row}), PrepareConfig())
    assert prompt.prompt == expected


@pytest.mark.parametrize("question", [
    "How heavy? (A) 8 kg (B) 12 kg", "How heavy?\nA. 8 kg\nB. 12 kg", "How heavy?\nA: 8 kg, B: 12 kg",
    "How heavy? A) 8  kg\nB) 12 kg"])
def test_options_in_the_question_are_not_repeated(folder: Path, question: str):
    rows = json_lines({"question": question, "answer": "B", "options": ["8 kg", "12 kg"]})
    assert next(prepare(rows, PrepareConfig())).prompt == question


def test_an_instruction_goes_after_options_and_images(folder: Path):
    rows = json_lines({"question": "What <image1>?", "answer": "cat", "options": ["cat", "dog"], "image": "red.png"})
    [prompt] = prepare(rows, PrepareConfig(instruction="Be brief."))
    assert chat_of(prompt).messages[0]["content"] == [
        {"type": "text", "text": "What "}, PART, {"type": "text", "text": "?\n(A) cat\n(B) dog"},
        {"type": "text", "text": "\n\nBe brief."}]
    assert prompt.question == question_of(prompt) == "What [image 1]?\n(A) cat\n(B) dog"


def test_a_question_may_be_in_the_picture_alone(folder: Path):
    rows = json_lines({"question": "", "answer": "2", "image": "red.png"})
    [prompt] = prepare(rows, PrepareConfig(instruction="Answer it."))
    assert (prompt.prompt, prompt.images) == ("Answer it.", (str(folder / "red.png"),))


def test_chat_messages_with_images(folder: Path):
    messages = [{"role": "user", "content": "<image>How many?"}]
    rows = json_lines({"prompt": messages, "images": ["red.png"], "reward_model": {"ground_truth": "2"}})
    [prompt] = prepare(rows, PrepareConfig())
    assert prompt.prompt == [{"role": "user", "content": [PART, {"type": "text", "text": "How many?"}]}]


def test_images_inside_messages_are_kept_too(folder: Path):
    parts = [{"type": "image_url", "image_url": {"url": uri(LIME)}}, {"type": "image", "image": "red.png"},
             {"type": "text", "text": "Same?"}]
    [prompt] = written(json_lines({"id": "p", "prompt": [{"role": "user", "content": parts}]}))
    assert isinstance(prompt.prompt, list)
    first, second, _ = prompt.prompt[0]["content"]
    assert Path(first["image_url"]["url"]).read_bytes() == LIME
    assert second["image"] == str(folder / "red.png")


def test_prepared_prompts_are_left_as_they_are(folder: Path):
    rows = [{"question": "What <image 1>?", "answer": "2", "image_1": "red.png"},
            {"question": "Ant <image1>, bee <image2>?", "answer": "2", "image": "red.png"}]
    once = list(prepare(json_lines(*rows), PrepareConfig()))
    (folder / "again.jsonl").write_bytes(b"".join(map(dumps, once)))
    assert list(prepare("again.jsonl", PrepareConfig())) == once


def test_records_in_tables_have_nulls_where_they_have_nothing(folder: Path):
    rows = [{"id": "a", "prompt": "<image>What?", "answer": "2", "images": ["red.png"], "note": "x"},
            {"id": "b", "prompt": "1+1", "answer": None, "images": None, "note": None}]
    for order in (rows, rows[::-1]):
        prompts = {prompt.id: prompt for prompt in written(parquet(*order))}
        assert (len(prompts["a"].images), prompts["b"].images) == (1, ())


def test_records_may_have_images_under_another_name(folder: Path):
    """Also where the first has none, from which the layout is taken."""
    rows = [{"id": "a", "prompt": "1 + 1?", "answer": "2"},
            {"id": "b", "prompt": "<image> what?", "answer": "2", "image": "red.png"},
            {"id": "c", "prompt": "<image 2> or <image 1>?", "image_1": "red.png", "image_2": "blue.png"}]
    written(json_lines(*rows))
    assert contents() == [[], [RED], [BLUE, RED]]
    assert all(record.extra == {} for record in read("prompts.jsonl", Prompt))
    with pytest.raises(InputError, match=r"rows.jsonl:2: <image> in the question, and the row has no image"):
        written(json_lines(rows[0], {**rows[1], "image": None}))


def test_a_folder_beside_the_outputs_is_named_whole(folder: Path):
    (folder / "below").mkdir()
    [prompt] = written(json_lines({"question": "Q?", "answer": "2", "image": uri(RED)}), out="below/prompts.jsonl",
                       images="below/../kept")
    assert prompt.images[0].startswith(f"{folder}/kept/")


def test_kept_images_move_with_their_file(folder: Path):
    [prompt] = written(json_lines({"question": "Q?", "answer": "2", "images": [uri(RED), "red.png", uri(RED)]}),
                       out="prompts.v2.jsonl.gz")
    kept, elsewhere, again = prompt.images
    assert kept == again and kept.startswith("prompts.v2-images/") and kept.endswith(".png")
    assert elsewhere == str(folder / "red.png")
    (folder / "moved").mkdir()
    for name in ("prompts.v2.jsonl.gz", "prompts.v2-images"):
        (folder / name).rename(folder / "moved" / name)
    [moved] = read("moved/prompts.v2.jsonl.gz", Prompt)
    assert load_image(moved.images[0], allow_remote=False).size == (8, 6)


@pytest.mark.parametrize(("out", "images", "begins"), [
    ("prompts.jsonl", None, "prompts-images/"), ("prompts.jsonl", "kept", "kept/"),
    ("images/prompts.jsonl", "kept", "{folder}/kept/"), ("-", "kept", "{folder}/kept/")])
def test_where_images_are_kept(folder: Path, out: str, images: str | None, begins: str):
    rows = json_lines({"question": "Q?", "answer": "2", "image": uri(RED)})
    [prompt] = prepare(rows, PrepareConfig(images=images), out=out)
    assert prompt.images[0].startswith(begins.format(folder=folder))


def test_without_a_folder_data_uris_stay_and_bytes_cannot(folder: Path):
    [prompt] = prepare(json_lines({"question": "Q?", "answer": "2", "image": uri(RED)}), PrepareConfig())
    assert prompt.images == (uri(RED),)
    with pytest.raises(UsageError, match=r"rows.parquet: row 1: image 1 .*: is no file; name a folder .* --images DIR"):
        list(prepare(parquet({"question": "Q?", "answer": "2", "image": {"bytes": RED}}), PrepareConfig()))


def test_ids_do_not_depend_on_where_images_are(folder: Path):
    rows = [{"question": "Q?", "answer": "2", "image": image} for image in ("red.png", uri(RED), uri(BLUE))]
    here = [prompt.id for prompt in written(json_lines(*rows))]
    there = [prompt.id for prompt in prepare("rows.jsonl", PrepareConfig(images="kept"))]
    assert here == there and len(set(here)) == 3


def rows_with_errors() -> list[dict[str, Any]]:
    return [{"question": "Q?", "answer": "1", "image": "red.png"}, {"question": "Q?", "answer": "2", "image": "no.png"},
            {"question": "<image><image>", "answer": "3", "image": "red.png"}, {"question": 7, "answer": "4"},
            {"question": "Q?", "answer": "5", "image": "red.png"}]


def test_rows_that_make_no_prompt_are_skipped_where_asked(folder: Path):
    source = json_lines(*rows_with_errors())
    with open(source, "ab") as file:
        file.write(b'{broken\n[1]\n{"question": "Q?", "answer": "8"}\n')
    skipped: list[str] = []
    prompts = prepare(source, PrepareConfig(on_error="skip"), skipped=lambda error: skipped.append(str(error)))
    assert [prompt.answer for prompt in prompts] == ["1", "5", "8"]
    assert [told.partition(": ")[0] for told in skipped] == [f"rows.jsonl:{line}" for line in (2, 3, 4, 6, 7)]
    assert skipped[0].startswith("rows.jsonl:2: image 1 (no.png): no such file; paths are relative to the file")


def test_a_limit_counts_prompts_and_not_rows(folder: Path):
    prompts = prepare(json_lines(*rows_with_errors()), PrepareConfig(on_error="skip", limit=2))
    assert [prompt.answer for prompt in prompts] == ["1", "5"]


def test_where_every_row_is_skipped_it_is_an_error(folder: Path):
    source = json_lines(*rows_with_errors()[1:4])
    with pytest.raises(InputError, match=r"^rows.jsonl: none of 3 rows makes a prompt; the first: rows.jsonl:2: "):
        list(prepare(source, PrepareConfig(on_error="skip", shuffle=True)))


def test_rows_stop_at_the_first_that_makes_no_prompt(folder: Path):
    prompts = prepare(json_lines(*rows_with_errors()), PrepareConfig())
    assert next(prompts).answer == "1"
    with pytest.raises(InputError, match=r"rows.jsonl:2: image 1 \(no.png\): no such file"):
        next(prompts)


def test_it_streams(folder: Path):
    """The first prompt comes out while the rest of the rows are still to be written."""
    line = orjson.dumps({"question": "Q?", "answer": "2", "image": "red.png"}) + b"\n"
    code = ("import sys; from sparkcli.config import PrepareConfig; from sparkcli.sources.prepare import prepare\n"
            "for p in prepare('-', PrepareConfig()): print(p.images[0], flush=True)")
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          env=dict(os.environ)) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(line)
        child.stdin.flush()
        assert child.stdout.readline().decode().strip() == str(folder / "red.png")
        child.stdin.close()
        assert child.wait(20) == 0


@pytest.mark.parametrize(("name", "count", "column", "figures"), [
    ("mathvision/testmini.jsonl", 120, "image", 27), ("logicvista/dataset.json", 60, "imagename", 0)])
def test_real_rows_with_images(shared_data: Path, name: str, count: int, column: str, figures: int):
    source = shared_data / name
    told: list[str] = []
    prompts = list(prepare(str(source), PrepareConfig(on_error="skip"), told.append))
    there = {path.name for path in (source.parent / "images").iterdir()}
    assert len(prompts) == count == len(there)
    assert {Path(image).name for prompt in prompts for image in prompt.images} == there
    assert f"images={column}" in told[0]
    for prompt in prompts:
        [image] = prompt.images
        assert min(load_image(image, allow_remote=False).size) > 1
        assert len(chat_of(prompt).images) == 1
    in_place = [prompt for prompt in prompts if isinstance(prompt.prompt, list)]
    assert not any("<image" in question_of(prompt) for prompt in in_place)
    rest = [prompt for prompt in prompts if isinstance(prompt.prompt, str)]
    assert sum("<image2>" in question_of(prompt) for prompt in rest) == figures
