"""Places of images in questions: what they become, and when they do not fit."""

from typing import Any

import pytest

from sparkcli.errors import InputError
from sparkcli.sources.places import Images, placed

IMAGE = {"type": "image"}


def text(content: str) -> dict[str, str]:
    return {"type": "text", "text": content}


def user(*parts: dict[str, str]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def listed(*images: str) -> Images:
    return Images(dict(enumerate(images, 1)), "list")


def columns(**images: str) -> Images:
    return Images({int(name[1:]): image for name, image in images.items()}, "columns")


ONE = Images({1: "a"}, "one")


@pytest.mark.parametrize(("prompt", "images", "expected", "shown"), [
    ("How many?", listed("a", "b"), "How many?", ["a", "b"]),
    ("How many?", columns(), "How many?", []),
    ("<image>How many?", listed("a"), user(IMAGE, text("How many?")), ["a"]),
    ("Is <image> <image>?", listed("a", "b"), user(text("Is "), IMAGE, text(" "), IMAGE, text("?")), ["a", "b"]),
    ("Same <image1>\n", ONE, user(text("Same "), IMAGE, text("\n")), ["a"]),
    ("<image 2>, then <image 1>", columns(_1="a", _2="b"), user(IMAGE, text(", then "), IMAGE), ["b", "a"]),
    ("<image_1> or <image_1>", listed("a"), user(IMAGE, text(" or "), IMAGE), ["a", "a"]),
    ("<image1> or <image1>", ONE, user(IMAGE, text(" or "), IMAGE), ["a", "a"]),
    ("<IMAGE 1>", ONE, user(IMAGE), ["a"]),
    ("<image 3> only", columns(_1="a", _3="c"), user(IMAGE, text(" only")), ["c"]),
    ("Ant <image1>, bee <image2>?", ONE, "Ant <image1>, bee <image2>?", ["a"]),
    ("Is <image>a.png</image> markup?", listed("a"), "Is <image>a.png</image> markup?", ["a"]),
    ("Is <image>a.png</image> markup?", listed(), "Is <image>a.png</image> markup?", []),
    ("An <images> tag, <image x>, < image >", listed("a"), "An <images> tag, <image x>, < image >", ["a"]),
])
def test_places(prompt: str, images: Images, expected: object, shown: list[str]):
    assert placed(prompt, images, "f:1", lambda told: None) == (expected, shown)


def test_places_in_messages():
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "<image>What?"},
                {"role": "assistant", "content": "A cat."},
                {"role": "user", "content": [text("And <image>?"), text("Say!")]}]
    assert placed(messages, listed("a", "b"), "f:1", lambda told: None) == ([
        messages[0], {"role": "user", "content": [IMAGE, text("What?")]}, messages[2],
        {"role": "user", "content": [text("And "), IMAGE, text("?"), text("Say!")]}], ["a", "b"])


def test_messages_with_image_parts_are_left_as_they_are():
    messages = user(IMAGE, text("What does <image> mean in HTML?"))
    assert placed(messages, listed("a"), "f:1", lambda told: None) == (messages, ["a"])


@pytest.mark.parametrize(("prompt", "images", "message"), [
    ("<image> and <image>", listed("a"), "f:1: 1 image for 2 places (<image>) in the question"),
    ("<image> and <image>", ONE, "f:1: 1 image for 2 places (<image>) in the question"),
    ("<image>", listed("a", "b", "c"), "f:1: 3 images for 1 place (<image>) in the question"),
    ("<image 3>", columns(_1="a", _2="b"), "f:1: <image 3> in the question, and the row has only image 1, 2"),
    ("<image1><image2>", listed("a"), "f:1: <image2> in the question, and the row has only image 1"),
    ("<image0>", listed("a"), "f:1: <image0> in the question, and the row has only image 1"),
    ("<image2>", listed("a", "b", "c"), "f:1: 3 images, and no place in the question for image 1, 3"),
    ("<image> and <image2>", listed("a", "b"), "f:1: <image> beside numbered places in one question"),
    ("<image>?", listed(), "f:1: <image> in the question, and the row has no image; name the column that has it with "
                           "--map images=COLUMN"),
])
def test_places_that_do_not_fit(prompt: str, images: Images, message: str):
    with pytest.raises(InputError) as raised:
        placed(prompt, images, "f:1", lambda told: None)
    assert str(raised.value).startswith(message)


def test_what_is_not_taken_literally_is_told():
    told: list[str] = []
    placed("<image 2>", columns(_1="a", _2="b"), "f:1", told.append)
    placed("<image1><image2>", ONE, "f:1", told.append)
    placed("<image1>", ONE, "f:1", told.append)
    assert told == ["an image of which the question does not speak is not sent",
                    "one picture of several figures stands before the question, which goes on naming them <image1> …"]
