"""The tiny-vision problems: reproducible, right, cleanly split, and drawn as they say."""

import base64
import io
import random
import re
from collections import Counter

import pytest
from PIL import Image

from sparkcli.builtin.streams import HELD_OUT_ONE_IN, Split
from sparkcli.builtin.tiny_vision.pictures import CELL, FLOOR, PAINT, PAPER, SIDE, STEP, data_uri, picture
from sparkcli.builtin.tiny_vision.problem import COLOURS, Problem
from sparkcli.builtin.tiny_vision.task import PHRASES, WORDINGS, draw, problems, word

SPLITS: tuple[Split, ...] = ("train", "test", "hard")
NUMBERS = Problem("numbers", (("red", 47), ("blue", 38), ("green", 12), ("black", 90)), (("red", 1), ("blue", -1)), 5)
BARS = Problem("bars", (("red", 3), ("blue", 9), ("green", 1), ("black", 5)), (("blue", 7), ("black", 7)), 5)


@pytest.mark.parametrize("split", SPLITS)
def test_a_stream_repeats_nothing_and_shows_one_small_picture_each(split: Split) -> None:
    stream = list(problems(split, 0, 600))
    assert len({prompt.id for prompt in stream}) == len({(prompt.prompt, prompt.images) for prompt in stream}) == 600
    assert all(prompt.id.startswith(f"tiny-vision/{split}/") for prompt in stream)
    assert {(prompt.task, prompt.verifier, len(prompt.images)) for prompt in stream} == {("solve", "math", 1)}
    assert max(len(prompt.images[0]) for prompt in stream) < 700


def test_gold_answers_are_what_the_wordings_ask_for() -> None:
    assert NUMBERS.value == (47 - 38, 1)
    assert BARS.value == (7 * (9 + 5), 1)
    assert [word(NUMBERS, wording) for wording in range(WORDINGS)] == [
        "Compute red-blue with the numbers shown.",
        "What is red-blue in the picture?",
        "Mia has as many coins as the red number says, then loses the blue. How many has she now?",
    ]
    assert word(BARS, 0) == "Add the bars blue, black. One step of the chart stands for 7."


def test_a_problem_falls_on_one_side_however_it_is_arranged_or_worded() -> None:
    rng = random.Random(0)
    drawn = [draw("standard", rng) for _ in range(10_000)]
    for problem in drawn[:500]:
        shown, asked = list(problem.shown), list(problem.asked)
        rng.shuffle(shown)
        rng.shuffle(asked)
        twin = Problem(problem.family, tuple(shown), tuple(asked), rng.getrandbits(32))
        assert twin.canonical == problem.canonical
        assert twin.held_out == problem.held_out
    share = sum(problem.held_out for problem in drawn) / len(drawn)
    assert abs(share - 1 / HELD_OUT_ONE_IN) < 0.02


def test_test_and_train_share_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[Problem]] = {split: [] for split in SPLITS}
    for split in SPLITS:
        def note(problem: Problem, split: Split, wording: int) -> None:
            seen[split].append(problem)

        monkeypatch.setattr("sparkcli.builtin.tiny_vision.task._prompt", note)
        list(problems(split, 3, 800))
    canonical = {split: {problem.canonical for problem in found} for split, found in seen.items()}
    assert not canonical["train"] & (canonical["test"] | canonical["hard"])
    assert {problem.held_out for problem in seen["train"]} == {False}
    assert {problem.held_out for problem in seen["test"] + seen["hard"]} == {True}


def test_the_commonest_answer_is_rare() -> None:
    """What a model that never looks can hope for."""
    answers = Counter(prompt.answer for prompt in problems("test", 0, 1000))
    assert answers.most_common(1)[0][1] < 80


def test_questions_consist_of_the_listed_phrases_and_digits() -> None:
    for split in SPLITS:
        for prompt in problems(split, 2, 300):
            rest = str(prompt.prompt)
            for phrase in sorted(PHRASES, key=len, reverse=True):
                rest = rest.replace(phrase, "")
            assert not set(rest) - set("0123456789+-=?."), prompt.prompt


@pytest.mark.parametrize("problem", [NUMBERS, BARS], ids=lambda problem: problem.family)
def test_a_data_uri_decodes_to_the_picture_pixel_by_pixel(problem: Problem) -> None:
    image = picture(problem)
    head, _, body = data_uri(image).partition(",")
    assert head == "data:image/png;base64"
    found = Image.open(io.BytesIO(base64.b64decode(body))).convert("RGB")
    assert found.size == (SIDE, SIDE)
    assert found.tobytes() == image.tobytes()


def test_bars_are_as_high_as_they_say() -> None:
    image = picture(BARS)
    for colour, height in BARS.shown:
        rows = [y for y in range(SIDE) if any(image.getpixel((x, y)) == PAINT[colour] for x in range(SIDE))]
        assert (min(rows), max(rows)) == (FLOOR - STEP * height, FLOOR - 1)


def test_each_number_has_a_cell_of_its_own() -> None:
    image = picture(NUMBERS)
    cells = {colour: {(x // CELL, y // CELL) for x in range(SIDE) for y in range(SIDE)
                      if image.getpixel((x, y)) == PAINT[colour]} for colour, _ in NUMBERS.shown}
    assert all(len(found) == 1 for found in cells.values())
    assert len(set.union(*cells.values())) == 4
    ink = {image.getpixel((x, y)) for x in range(SIDE) for y in range(SIDE)}
    assert ink == {PAPER, *(PAINT[colour] for colour, _ in NUMBERS.shown)}


def test_numbers_that_differ_look_different() -> None:
    looks = {picture(Problem("numbers", (("red", number),), (("red", 1),))).tobytes() for number in range(10, 100)}
    assert len(looks) == 90


def test_another_layout_shows_the_same_elsewhere() -> None:
    moved = Problem(NUMBERS.family, NUMBERS.shown, NUMBERS.asked, layout=6)
    assert picture(moved).tobytes() != picture(NUMBERS).tobytes()
    assert sorted(picture(moved).getcolors()) == sorted(picture(NUMBERS).getcolors())


def test_colours_are_named_in_the_questions() -> None:
    for prompt in problems("test", 0, 100):
        assert len(re.findall("|".join(COLOURS), str(prompt.prompt))) in (2, 3)
