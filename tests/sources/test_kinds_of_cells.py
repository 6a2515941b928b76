"""What a cell may hold, in real files: no kind of value changes on its way into a prompt without a word."""

import datetime
import json
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy
import orjson
import pandas
import pyarrow
import pyarrow.parquet
import pytest

from sparkcli.config import PrepareConfig
from sparkcli.errors import InputError
from sparkcli.records import Prompt, dumps
from sparkcli.sources.prepare import prepare

BIG = 123456789012345678901234567890
TOKYO = datetime.timezone(datetime.timedelta(hours=9))


def one(path: Path, content: bytes, told: list[str] | None = None, **settings: Any) -> Prompt:
    path.write_bytes(content)
    prompt, = prepare(str(path), PrepareConfig(**settings), None if told is None else told.append)
    return prompt


def in_parquet(folder: Path, told: list[str] | None = None, **columns: Any) -> Prompt:
    """The prompt of a table with one row."""
    arrays = {name: value if isinstance(value, pyarrow.Array | pyarrow.ChunkedArray) else pyarrow.array([value])
              for name, value in {"question": "Q?", **columns}.items()}
    pyarrow.parquet.write_table(pyarrow.table(arrays), folder / "a.parquet")
    return one(folder / "a.parquet", (folder / "a.parquet").read_bytes(), told)


@pytest.mark.parametrize(("number", "gold"), [
    (str(BIG), str(BIG)), (f"-{BIG}", f"-{BIG}"), ("18446744073709551616", "18446744073709551616"),
    ("9007199254740993", "9007199254740993"), ("9007199254740993.0", "9007199254740993"),
    ("0.1000000000000000055", "0.1000000000000000055"), ("3.1415926535897932", "3.1415926535897932"),
    ("1e400", "1E+400"), ("27.0", "27"), ("0.50", "0.5"), ("1e-7", "0.0000001"), ("0", "0"), ("-0.0", "0"),
    ("NaN", None), ("null", None), ('""', None), ('" 007 "', "007"), ('"NaN"', "NaN"), ('"1e5"', "1e5"),
    ("true", "True"), (f'["x", {BIG}]', f"x, {BIG}")])
@pytest.mark.parametrize("suffix", ["jsonl", "json"])
def test_golds_in_json(tmp_path: Path, suffix: str, number: str, gold: str | None) -> None:
    row = f'{{"question": "Q?", "answer": {number}}}'
    made = one(tmp_path / f"a.{suffix}", (row if suffix == "jsonl" else f"[{row}]").encode())
    assert made.answer == gold


@pytest.mark.parametrize(("cell", "gold"), [
    ("007", "007"), ("1e5", "1e5"), ("TRUE", "TRUE"), ("NA", "NA"), ("None", "None"), ("null", "null"), ("nan", "nan"),
    ('"1,234"', "1,234"), ("1.0", "1.0"), ("+5", "+5"), (str(BIG), str(BIG)), (" 3 ", "3"), ("", None), ("−5", "−5"),
    ('"a\r\nA: 5"', "5"), ("2024-03-05", "2024-03-05"), ("½", "½"), ("a\u2028b", "a\u2028b"), ("a\x0cb", "a\x0cb")])
@pytest.mark.parametrize(("header", "end"), [("question,answer", "\n"), ("question,answer", "\r\n"),
                                             ("\ufeffquestion, answer ", "\n")])
def test_golds_in_csv_stay_the_text_that_they_are(tmp_path: Path, header: str, end: str, cell: str,
                                                  gold: str | None) -> None:
    made = one(tmp_path / "a.csv", f"{header}{end}Q?,{cell}{end}".encode())
    assert (made.prompt, made.answer) == ("Q?", gold)


@pytest.mark.parametrize(("cell", "gold", "carried"), [
    (pyarrow.array([Decimal("12345678901234567890.123456789012345678")], pyarrow.decimal128(38, 18)),
     "12345678901234567890.123456789012345678", b"12345678901234567890.123456789012345678"),
    (pyarrow.array([Decimal("3.50")], pyarrow.decimal128(10, 2)), "3.5", b"3.5"),
    (pyarrow.array([Decimal("27.00")], pyarrow.decimal128(10, 2)), "27", b"27"),
    (pyarrow.array([Decimal(BIG)], pyarrow.decimal256(60, 0)), str(BIG), str(BIG).encode()),
    (pyarrow.array([2**64 - 1], pyarrow.uint64()), "18446744073709551615", b"18446744073709551615"),
    (pyarrow.array([float("nan")]), None, b"null"),
    (pyarrow.array([27.0]), "27", b"27.0"),
    (pyarrow.array([0.1], pyarrow.float32()), "0.1", b"0.1"),
    (pyarrow.array([None], pyarrow.float32()), None, b"null"),
    (pyarrow.array([numpy.float16(0.1)], pyarrow.float16()), "0.1", b"0.1"),
    (pyarrow.array([True]), "True", b"true"),
    (pyarrow.array([datetime.date(2024, 3, 5)]), "2024-03-05", b'"2024-03-05"'),
    (pyarrow.array([datetime.datetime(2024, 3, 5, 10, 5)], pyarrow.timestamp("ns")), "2024-03-05T10:05:00",
     b'"2024-03-05T10:05:00"'),
    (pyarrow.array([datetime.datetime(2024, 3, 5, 10, 5, tzinfo=TOKYO)], pyarrow.timestamp("us", "+09:00")),
     "2024-03-05T10:05:00+09:00", b'"2024-03-05T10:05:00+09:00"'),
    (pyarrow.array([datetime.time(10, 5)], pyarrow.time64("us")), "10:05:00", b'"10:05:00"'),
    (pyarrow.array([datetime.timedelta(hours=2)], pyarrow.duration("us")), "2:00:00", b'"2:00:00"'),
    (pyarrow.array(["x"], pyarrow.large_string()), "x", b'"x"'),
    (pyarrow.array(["x"]).dictionary_encode(), "x", b'"x"'),
    (pyarrow.array([["x", "y"]]), "x, y", b'["x","y"]'),
    (pyarrow.array([[Decimal("1.5"), None]]), "1.5", b"[1.5,null]"),
    (pyarrow.array([None], pyarrow.null()), None, b"null"),
])
def test_kinds_of_arrow(tmp_path: Path, cell: pyarrow.Array, gold: str | None, carried: bytes) -> None:
    made = in_parquet(tmp_path, answer=cell, column=cell)
    assert made.answer == gold
    assert b'"column":' + carried in dumps(made)


@pytest.mark.parametrize(("cell", "carried"), [
    (pyarrow.array([[("a", 1), ("b", 2)]], pyarrow.map_(pyarrow.string(), pyarrow.int64())), {"a": 1, "b": 2}),
    (pyarrow.array([[(1, "a")]], pyarrow.map_(pyarrow.int64(), pyarrow.string())), [[1, "a"]]),
    (pyarrow.array([{"on": datetime.date(2024, 3, 5), "for": [Decimal("2.5")]}]), {"on": "2024-03-05", "for": [2.5]}),
])
def test_nested_kinds_are_carried(tmp_path: Path, cell: pyarrow.Array, carried: Any) -> None:
    made = in_parquet(tmp_path, column=cell, answer="2")
    assert made.extra == {"column": carried}


def test_what_cannot_be_carried_is_called_by_its_kind(tmp_path: Path) -> None:
    told: list[str] = []
    made = in_parquet(tmp_path, told, answer="2", blob=b"\xff", nested=[{"x": b"\xff"}])
    assert made.extra == {}
    assert [text.split(": ", 2)[-1] for text in told[1:]] == [
        f"column {name} holds bytes and is left out; if it has the images: --map images={name}"
        for name in ("blob", "nested")]


def test_text_that_a_table_calls_bytes(tmp_path: Path) -> None:
    made = in_parquet(tmp_path, question="Größe?".encode(), answer=b"7 cm")
    assert (made.prompt, made.answer) == ("Größe?", "7 cm")
    with pytest.raises(InputError, match="answer: expected text, found bytes that are no UTF-8"):
        in_parquet(tmp_path, answer=b"\xff")
    for cell, kind in (({"value": 5}, "an object"), (float("-inf"), "-inf")):
        with pytest.raises(InputError, match=f"expected an answer as text, number or list, found {kind}"):
            in_parquet(tmp_path, answer=cell)


def test_what_pandas_writes(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"id": [7, None], "question": ["Q?", "R?"], "answer": [1, None], "level": ["easy", "hard"],
                              "choices": [["8 kg", "12 kg"]] * 2, "tag": [uuid.UUID(int=1), uuid.UUID(int=2)]})
    frame["level"], frame["tag"] = frame["level"].astype("category"), frame["tag"].astype(str)
    frame.to_parquet(tmp_path / "amc.parquet")
    first, second = prepare(str(tmp_path / "amc.parquet"), PrepareConfig())
    assert (first.id, first.answer, first.extra["level"]) == ("amc-7", "B", "easy")  # 7 and 1 came as 7.0 and 1.0
    assert (second.answer, second.extra["level"]) == (None, "hard")


@pytest.mark.parametrize(("content", "name"), [
    (b"question,answer,answer\nQ?,1,2\n", "'answer'"), (b"question,answer,x, answer\nQ?,1,2,3\n", "'answer'")])
def test_two_columns_of_one_name_are_an_error(tmp_path: Path, content: bytes, name: str) -> None:
    with pytest.raises(InputError, match=f"two columns are called {name}; rename one of them"):
        one(tmp_path / "a.csv", content)
    pyarrow.parquet.write_table(pyarrow.table([["Q?"], ["1"], ["2"]], ["question", "answer", "answer"]),
                                tmp_path / "a.parquet")
    with pytest.raises(InputError, match="two columns are called 'answer'"):
        list(prepare(str(tmp_path / "a.parquet"), PrepareConfig()))


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_byte_order_mark_is_no_content(tmp_path: Path, name: str) -> None:
    row = {"question": "Q?", "answer": "2"}
    content = orjson.dumps(row) + b"\r\n" if name == "a.jsonl" else json.dumps([row], indent=1).encode()
    assert one(tmp_path / name, b"\xef\xbb\xbf" + content).answer == "2"


def test_numbers_of_carried_columns_are_those_of_the_source(tmp_path: Path) -> None:
    values = f'{{"deep":[{BIG},0.12345678901234567890123]}}'
    made = one(tmp_path / "a.jsonl", f'{{"question":"Q?","answer":"2","mine":{values}}}'.encode())
    assert dumps(made).endswith(f'"mine":{values}}}\n'.encode())


@pytest.mark.parametrize(("text", "gold"), [
    ("So\n#### 1,007", "1007"), ("#### $1,234.50", "$1234.50"), ("#### (1,2)", "(1,2)"), ("#### 1,2,3", "1,2,3"),
    ("#### 5\n", "5"), ("####\n5", "5"), ("#### Step 1\nAdd.\nSo \\boxed{7}.", "7"), ("It is so.\nA: 18", "18")])
def test_worked_solutions(tmp_path: Path, text: str, gold: str) -> None:
    assert one(tmp_path / "a.jsonl", orjson.dumps({"question": "Q?", "answer": text})).answer == gold


@pytest.mark.parametrize(("name", "content"), [
    ("train.csv", f"question,answer\nQ?,007\nR?,NA\nS?,{BIG}\n"),
    ("train.jsonl", f'{{"question":"Q?","answer":"007"}}\n{{"question":"R?","answer":"NA"}}\n'
                    f'{{"question":"S?","answer":{BIG}}}\n')])
def test_a_folder_of_files_is_read_as_the_files_are(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    (tmp_path / name.replace("train", "test")).write_text(content.replace("007", "008"))
    for split, first in (("train", "007"), ("test", "008")):
        assert [made.answer for made in prepare(str(tmp_path), PrepareConfig(split=split))] == [first, "NA", str(BIG)]


@pytest.mark.parametrize(("choices", "answer", "gold"), [
    ({"A": "8 kg", "B": "12 kg"}, "B", "B"), ({"A": "8 kg", "B": "12 kg", "C": None}, "12 kg", "12 kg"),
    ({"label": ["A", "B"], "text": ["8 kg", "12 kg"]}, "B", "B"),
    ({"label": ["1", "2"], "text": ["8 kg", "12 kg"]}, "2", "B"),
    ({"label": [1, 2], "text": ["8 kg", "12 kg"]}, 2, "B")])
@pytest.mark.parametrize("column", ["answer", "answerKey"])
def test_options_with_their_labels(tmp_path: Path, choices: Any, answer: Any, gold: str, column: str) -> None:
    row = {"question": "How heavy?", "choices": choices, column: answer}
    for made in (one(tmp_path / "a.jsonl", orjson.dumps(row)), in_parquet(tmp_path, **row)):
        assert made.prompt == "How heavy?\n(A) 8 kg\n(B) 12 kg"
        assert (made.answer, made.verifier) == (gold, {"name": "choice", "options": ["8 kg", "12 kg"]})


@pytest.mark.parametrize(("content", "row"), [
    (b"\n\nquestion,answer\nQ?,2\n", ("Q?", "2")), (b"question,answer,,\nQ?,2,,\n\n", ("Q?", "2")),
    (b",question,answer\n0,Q?,007\n", ("Q?", "007")), (b"question,answer\rQ?,2\r", ("Q?", "2"))])
def test_what_spreadsheets_leave_in_csv(tmp_path: Path, content: bytes, row: tuple[str, str]) -> None:
    made = one(tmp_path / "a.csv", content)
    assert (made.prompt, made.answer, made.extra) == (*row, {})


@pytest.mark.parametrize(("content", "message"), [
    (b"question,answer\nGr\xf6\xdfe?,2\n", "not UTF-8 (byte 0xf6); save it in UTF-8"),
    (b'question,answer\n"Q?,2\n', "not CSV: unexpected end of data")])
def test_what_is_no_csv(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(InputError) as raised:
        one(tmp_path / "a.csv", content)
    assert message in str(raised.value)


@pytest.mark.parametrize(("choices", "answer", "gold", "verifier"), [
    ([8, 12.5], "B", "B", "choice"), ([8, 12], "12", "12", "choice"), ([8, 12], 12, "12", None),
    ([8, 12], 1, "1", None), (["8", "12"], 1.0, "B", "choice"), (["8", "12"], 1.5, "1.5", "choice")])
def test_options_that_are_numbers(tmp_path: Path, choices: list[Any], answer: Any, gold: str,
                                  verifier: str | None) -> None:
    made = one(tmp_path / "a.jsonl", orjson.dumps({"question": "Q?", "choices": choices, "answer": answer}))
    assert made.answer == gold
    assert (made.verifier or {"name": None})["name"] == verifier  # type: ignore[index]
