"""Whole sources: files of every kind, standard input, the hub, the built-in task, real data."""

import gzip
import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import orjson
import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from sparkcli.config import PrepareConfig
from sparkcli.errors import InputError, UsageError
from sparkcli.records import Prompt, dumps, from_json
from sparkcli.sources.prepare import prepare

ROWS = [{"question": "What is 1 + 1?", "answer": "2"}, {"question": 'A "quoted",\nbroken one?', "answer": "3"}]
JSON_LINES = b"".join(orjson.dumps(row) + b"\n" for row in ROWS)


def pairs(source: object, **settings: Any) -> list[tuple[Any, str | None]]:
    return [(prompt.prompt, prompt.answer) for prompt in prepare(str(source), PrepareConfig(**settings))]


EXPECTED = [(row["question"], row["answer"]) for row in ROWS]


def test_what_is_for_the_chat_template_is_carried_as_its_fields(tmp_path: Path) -> None:
    """A column of that name with something else in it is carried as any other."""
    tools = [{"type": "function", "function": {"name": "add"}}]
    chat = {"messages": [{"role": "user", "content": "2?"}], "answer": "2"}
    rows = [{**chat, "tools": given, "chat_template_kwargs": said}
            for given, said in ((tools, {"enable_thinking": False}), (None, None), ("hammer", 3))]
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    first, second, third = prepare(str(tmp_path / "rows.jsonl"), PrepareConfig())
    assert (first.tools, first.chat_template_kwargs, first.extra) == (tuple(tools), {"enable_thinking": False}, {})
    assert (second.tools, second.chat_template_kwargs, second.extra) == ((), None, {})
    assert (third.tools, third.extra) == ((), {"row_tools": "hammer", "row_chat_template_kwargs": 3})


@pytest.mark.parametrize(("name", "content"), [
    ("a.jsonl", JSON_LINES),
    ("a.jsonl", JSON_LINES.replace(b"\n", b"\n\n")),
    ("a.json", JSON_LINES),
    ("a.json", orjson.dumps(ROWS, option=orjson.OPT_INDENT_2)),
    ("a.json", orjson.dumps({"data": ROWS, "version": 1})),
    ("a.jsonl.gz", gzip.compress(JSON_LINES, mtime=0)),
    ("a.jsonl.zst", zstandard.compress(JSON_LINES)),
    ("a.csv", 'question,answer\nWhat is 1 + 1?,2\n"A ""quoted"",\nbroken one?",3\n'.encode("utf-8-sig")),
    ("a.csv.gz", gzip.compress(b'question,answer\nWhat is 1 + 1?,2\n"A ""quoted"",\nbroken one?",3\n', mtime=0)),
])
def test_kinds_of_files(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    assert pairs(tmp_path / name) == EXPECTED


def test_parquet(tmp_path: Path):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert pairs(tmp_path / "a.parquet") == EXPECTED


def test_an_object_of_rows_has_ids(tmp_path: Path):
    (tmp_path / "a.json").write_bytes(orjson.dumps({"one": ROWS[0], "2": ROWS[1]}))
    assert [prompt.id for prompt in prepare(str(tmp_path / "a.json"), PrepareConfig())] == ["one", "a-2"]


def test_standard_input(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(JSON_LINES)))
    assert pairs("-") == EXPECTED


def test_prepared_prompts_are_left_as_they_are(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(JSON_LINES)
    once = list(prepare(str(tmp_path / "a.jsonl"), PrepareConfig(instruction="Be brief.", verifier="exact")))
    (tmp_path / "b.jsonl").write_bytes(b"".join(map(dumps, once)))
    assert list(prepare(str(tmp_path / "b.jsonl"), PrepareConfig())) == once


def test_the_layout_is_told(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(JSON_LINES)
    told: list[str] = []
    list(prepare(str(tmp_path / "a.jsonl"), PrepareConfig(), told.append))
    assert told == [f"{tmp_path}/a.jsonl: layout question, question=question, answer=answer"]


def test_equal_ids_are_numbered(tmp_path: Path):
    rows = [{"id": name, "question": "Q?", "answer": "2"} for name in ("x", "x", "x-2", "x")]
    (tmp_path / "a.json").write_bytes(orjson.dumps(rows))
    assert [prompt.id for prompt in prepare(str(tmp_path / "a.json"), PrepareConfig())] == ["x", "x-2", "x-2-2", "x-3"]


def test_limit_and_shuffle(tmp_path: Path):
    rows = [{"id": f"r{number}", "question": "Q?", "answer": "2"} for number in range(50)]
    (tmp_path / "a.json").write_bytes(orjson.dumps(rows))
    ids = [[prompt.id for prompt in prepare(str(tmp_path / "a.json"), config)] for config in (
        PrepareConfig(limit=3), PrepareConfig(limit=0), PrepareConfig(shuffle=True), PrepareConfig(shuffle=True),
        PrepareConfig(shuffle=True, seed=1), PrepareConfig(shuffle=True, limit=3))]
    assert ids[:2] == [["r0", "r1", "r2"], []]
    assert ids[2] == ids[3] != ids[4]
    assert sorted(ids[2]) == sorted(row["id"] for row in rows)
    assert ids[5] == ids[2][:3]


def test_a_limit_reads_no_further(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(JSON_LINES + b"{broken")
    assert pairs(tmp_path / "a.jsonl", limit=2) == EXPECTED


@pytest.mark.parametrize(("name", "content", "message"), [
    ("a.jsonl", JSON_LINES + b"{broken\n", "a.jsonl:3: not JSON"),
    ("a.jsonl", b"[1]\n", "a.jsonl:1: expected an object, found a list"),
    ("a.jsonl", b"", "a.jsonl: empty; expected rows"),
    ("a.json", b"{broken", "a.json: not JSON"),
    ("a.json", b"3", "a.json: expected a list or an object of rows"),
    ("a.json", b"[3]", "a.json: entry 1: expected an object, found an integer (3)"),
    ("a.csv", b"question,answer\nQ?,2,3\n", "a.csv:2: expected 2 cells, as in the header"),
    ("a.csv", b"question,answer\nQ?\n", "a.csv:2: expected 2 cells, as in the header"),
    ("a.csv", b"question;answer\nQ?;2\n", "a.csv: cells are separated by ';'; save it with commas"),
    ("a.csv", b"question,answer\n\xff,2\n", "a.csv:"),
    ("a.parquet", b"PAR1 not really", "a.parquet: not Parquet"),
    ("a.jsonl.gz", gzip.compress(JSON_LINES, mtime=0)[:-12], "a.jsonl.gz:"),
])
def test_a_broken_file_is_named_with_the_place(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        pairs(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path}/{message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("source", "message"), [
    ("builtin:tiny-maths", "builtin:tiny-maths: no such built-in task; did you mean 'tiny-math'?"),
    ("builtin:tiny-math/trian", "builtin:tiny-math/trian: no split 'trian'; did you mean 'train'?"),
    ("no such thing", "no such thing: no such file, and no id of a hub dataset"),
])
def test_unknown_sources(source: str, message: str):
    with pytest.raises(UsageError) as error:
        pairs(source)
    assert str(error.value) == message


def test_a_missing_file_and_an_unknown_kind_of_file(tmp_path: Path):
    with pytest.raises(InputError, match=r"a\.jsonl: No such file or directory"):
        pairs(tmp_path / "a.jsonl")
    (tmp_path / "a.xml").write_text("<a/>")
    with pytest.raises(UsageError, match=r"a\.xml: unknown kind of file; expected \.jsonl"):
        pairs(tmp_path / "a.xml")


def test_an_unreachable_dataset_is_one_line():
    with pytest.raises(UsageError, match=r"^nobody/nothing: no such file, and as a dataset: ") as error:
        pairs("nobody/nothing")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("source", "configs", "chosen"), [
    ("someone/maths", ["only"], "only"), ("someone/maths", ["main", "socratic"], "main"),
    ("someone/maths", ["a", "b"], None), ("someone/maths:b", [], "b")])
def test_hub_datasets(monkeypatch: pytest.MonkeyPatch, source: str, configs: list[str], chosen: str | None):
    asked = []

    def load(name: str, config: str | None, split: str) -> datasets.Dataset:
        asked.append((name, config, split))
        return datasets.Dataset.from_list([{"id": 7, **ROWS[0]}])

    monkeypatch.setattr(datasets, "get_dataset_config_names", lambda name: configs)
    monkeypatch.setattr(datasets, "load_dataset", load)
    [prompt] = prepare(source, PrepareConfig(split="test"))
    assert asked == [("someone/maths", chosen, "test")]
    assert prompt.id == "maths-7"


def test_a_folder_of_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "set").mkdir()
    datasets.Dataset.from_list(ROWS).to_parquet(tmp_path / "set" / "train.parquet")
    assert pairs(tmp_path / "set") == EXPECTED
    with pytest.raises(UsageError, match="as a dataset: "):
        pairs(tmp_path / "set", split="validation")


def test_builtin_problems():
    prompts = list(prepare("builtin:tiny-math/test", PrepareConfig(limit=5, instruction="Be brief.")))
    assert len({prompt.id for prompt in prompts}) == 5
    assert all(prompt.prompt == f"{prompt.question}\n\nBe brief." for prompt in prompts)
    assert pairs("builtin:tiny-math", split="test", limit=5, instruction="Be brief.") == [
        (prompt.prompt, prompt.answer) for prompt in prompts]


@pytest.mark.parametrize(("name", "count", "first_answer"), [
    ("gsm8k/test.jsonl", 1319, "18"), ("gsm8k/train_2000.jsonl", 2000, "72"),
    ("gsm8k/model_solutions_600.jsonl", 600, "18"), ("math/aime24.jsonl", 30, "204"), ("math/amc23.jsonl", 40, "27"),
    ("math/minerva.jsonl", 272, "1.6"), ("math/olympiadbench.jsonl", 675, "2"),
    ("math/qwen_math_rollouts_50x8.jsonl", 50, "420")])
def test_real_files_are_read_whole(shared_data: Path, name: str, count: int, first_answer: str):
    prompts = list(prepare(str(shared_data / name), PrepareConfig()))
    assert (len(prompts), len({prompt.id for prompt in prompts}), prompts[0].answer) == (count, count, first_answer)
    assert all(prompt.answer and "\n" not in prompt.answer for prompt in prompts)
    assert [from_json(Prompt, orjson.loads(dumps(prompt)), "") for prompt in prompts] == prompts


def test_what_was_not_taken_literally_is_told_once_with_the_number_of_rows(tmp_path: Path):
    chat = [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "So \\boxed{2}."}]
    (tmp_path / "a.jsonl").write_bytes(b"".join(orjson.dumps({"messages": chat, "n": n}) + b"\n" for n in range(3)))
    told: list[str] = []
    assert len(list(prepare(str(tmp_path / "a.jsonl"), PrepareConfig(), told.append))) == 3
    assert told[1:] == [f"{tmp_path}/a.jsonl:1 and 2 more: the assistant's last message is the reference reply and "
                        "left out of the prompt (--keep-reply keeps it)"]
