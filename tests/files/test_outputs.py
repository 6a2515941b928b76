"""Stored outputs of any model: what is filled in, what is kept, what is refused."""

import json
from pathlib import Path

import pytest

from sparkcli.errors import InputError
from sparkcli.files.outputs import read_outputs
from sparkcli.records import Rollout


def read(tmp_path: Path, *values: object) -> list[Rollout]:
    path = tmp_path / "outputs.jsonl"
    path.write_text("".join(f"{value if isinstance(value, str) else json.dumps(value)}\n" for value in values))
    return list(read_outputs(str(path), Rollout))


def test_a_completion_and_an_answer_are_enough(tmp_path: Path):
    first, second = read(tmp_path, {"completion": "a", "answer": "1"}, {"completion": "a", "answer": "1"})
    assert first == Rollout(id="line-1", prompt="", answer="1", sample=0, samples=1, completion="a")
    assert second.id == "line-2"


def test_ids_and_answers_may_be_numbers(tmp_path: Path):
    found = read(tmp_path, {"id": 7, "completion": "x", "answer": 5}, {"id": 7, "completion": "y", "answer": 0.5})
    assert [(r.id, r.sample, r.answer) for r in found] == [("7", 0, "5"), ("7", 1, "0.5")]


def test_a_list_of_answers_is_one_of_texts_as_json(tmp_path: Path):
    found = read(tmp_path, {"completion": "x", "answer": ["A", "C"]}, {"completion": "x", "answer": [1, 2.50]})
    assert [r.answer for r in found] == ['["A","C"]', '["1","2.5"]']


def test_broken_lines_can_be_left_out(tmp_path: Path):
    path, errors = tmp_path / "outputs.jsonl", list[str]()
    path.write_text('{"completion": "x"}\nbroken\n{"completion": "y", "id": "b"}\n{"response": "z"}\n[1]\n')
    outputs = read_outputs(str(path), Rollout, lambda error: errors.append(str(error).partition("outputs.jsonl:")[2]))
    assert [rollout.completion for rollout in outputs] == ["x", "y"]
    assert [error[:15] for error in errors] == ["2: not JSON: un", "4: completion: ", "5: expected a J"]


def test_a_file_of_broken_lines_is_an_error(tmp_path: Path):
    path = tmp_path / "outputs.jsonl"
    path.write_text("broken\n" * 2)
    with pytest.raises(InputError, match=r"no line is a rollout record; the first: .*outputs.jsonl:1: not JSON"):
        list(read_outputs(str(path), Rollout, lambda error: None))


def test_neighbours_with_an_id_are_counted_off_as_a_group(tmp_path: Path):
    found = read(tmp_path, *({"id": id, "completion": "x"} for id in "aabbba"))
    assert [(r.id, r.sample, r.samples) for r in found] == [
        ("a", 0, 2), ("a", 1, 2), ("b", 0, 3), ("b", 1, 3), ("b", 2, 3), ("a", 0, 1)]


def test_neighbours_with_the_same_prompt_are_a_group(tmp_path: Path):
    found = read(tmp_path, *({"prompt": prompt, "completion": "x"} for prompt in ("p", "p", "q")))
    assert [(r.sample, r.samples) for r in found] == [(0, 2), (1, 2), (0, 1)]
    assert found[0].id == found[1].id != found[2].id


def test_rollouts_are_what_they_were(tmp_path: Path):
    given = {"id": "a", "prompt": "?", "sample": 3, "samples": 8, "completion": "x", "note": [1]}
    [found] = read(tmp_path, given)
    assert found == Rollout(id="a", prompt="?", sample=3, samples=8, completion="x", extra={"note": [1]})


@pytest.mark.parametrize(("given", "numbers"), [
    ([{"sample": 0}, {"sample": 1}], [(0, 2), (1, 2)]),
    ([{"sample": 1}, {"sample": 5}], [(1, 6), (5, 6)]),  # others of the group were left out
    ([{"samples": 4}, {"samples": 4}], [(0, 4), (1, 4)]),
    ([{"sample": 0, "id": "b"}, {"sample": 0}], [(0, 1), (0, 1)]),
])
def test_half_of_the_numbers_of_a_sample_gives_the_other(tmp_path: Path, given: list[dict[str, object]],
                                                          numbers: list[tuple[int, int]]):
    found = read(tmp_path, *({"id": "a", "completion": "x", **row} for row in given))
    assert [(rollout.sample, rollout.samples) for rollout in found] == numbers


def test_rollouts_do_not_wait_for_the_next_line(tmp_path: Path):
    path = tmp_path / "outputs.jsonl"
    path.write_text(json.dumps({"id": "a", "prompt": "?", "sample": 0, "samples": 2, "completion": "x"}) + "\nbroken\n")
    assert next(read_outputs(str(path), Rollout)).id == "a"


def test_what_came_before_a_broken_line_is_handed_on(tmp_path: Path):
    path = tmp_path / "outputs.jsonl"
    path.write_text('{"completion": "x"}\n{"completion": "y", "id": "b"}\n{"completion"\n')
    outputs = read_outputs(str(path), Rollout)
    assert [next(outputs).completion, next(outputs).completion] == ["x", "y"]
    with pytest.raises(InputError, match=r"outputs.jsonl:3: not JSON"):
        next(outputs)


@pytest.mark.parametrize(("value", "message"), [
    ({"prompt": "?"}, "1: completion: expected in a rollout record, missing$"),
    ({"response": "x"}, "1: completion: expected in a rollout record, missing; rename 'response', if that is what"),
    ({"id": "a", "prompt": "?", "generations": ["x"], "answer": "1"}, "missing; rename 'generations', if that is"),
    ({"answer": "1"}, "1: completion: expected in a rollout record, missing; 'answer' is the gold answer here"),
    ({"completion": "x", "sample": "a"}, "1: sample: expected an integer, found a string"),
    ({"completion": 4}, "1: completion: expected a string, found an integer"),
    ({"completion": "x", "id": [7]}, "1: id: expected a string, found a list"),
    ({"completion": "x", "answer": True}, "1: answer: expected a string or null, found true or false"),
    ([1], "1: expected a JSON object, found a list"),
])
def test_what_is_no_output_names_its_place(tmp_path: Path, value: object, message: str):
    with pytest.raises(InputError, match=message):
        read(tmp_path, value)


def test_an_empty_file_is_an_error(tmp_path: Path):
    with pytest.raises(InputError, match="empty; expected rollout records"):
        read(tmp_path)
