"""What a model is shown: text and images, each image at its place."""

from typing import Any

import pytest

from sparkcli.errors import InputError
from sparkcli.method.messages import Chat, chat_of
from sparkcli.records import Prompt

IMAGE = {"type": "image"}


def text(content: str) -> dict[str, str]:
    return {"type": "text", "text": content}


def chat(prompt: Any, *images: str) -> Chat:
    return chat_of(Prompt(id="p", prompt=prompt, images=images))


def test_text_is_one_message_with_one_part():
    assert chat("How many?") == Chat([{"role": "user", "content": [text("How many?")]}], [])


def test_images_without_places_stand_before_the_text_of_the_last_user_message():
    assert chat("Same?", "a.png", "b.png") == Chat(
        [{"role": "user", "content": [IMAGE, IMAGE, text("Same?")]}], ["a.png", "b.png"])
    turns = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hello!"},
             {"role": "user", "content": [text("How many?")]}, {"role": "assistant", "content": "I see"}]
    shown = chat(turns, "a.png")
    assert [message["content"] for message in shown.messages] == [
        [text("Hello.")], [text("Hello!")], [IMAGE, text("How many?")], [text("I see")]]
    assert chat([{"role": "system", "content": "Look."}], "a.png").messages[0]["content"] == [IMAGE, text("Look.")]


@pytest.mark.parametrize("part", [
    {"type": "image", "image": "own.png"}, {"type": "image", "url": "own.png"}, {"type": "image", "path": "own.png"},
    {"type": "image_url", "image_url": {"url": "own.png", "detail": "low"}},
    {"type": "image_url", "image_url": "own.png"}, {"type": "image", "image": None, "url": "own.png", "text": None}])
def test_parts_name_an_image_or_take_the_next(part: dict[str, Any]):
    messages = [{"role": "user", "content": [IMAGE, text("or"), part, IMAGE]}]
    assert chat(messages, "a.png", "b.png") == Chat(
        [{"role": "user", "content": [IMAGE, text("or"), IMAGE, IMAGE]}], ["a.png", "own.png", "b.png"])


def test_messages_are_not_changed():
    messages = [{"role": "user", "content": [{"type": "image", "image": "own.png"}]}]
    chat(messages)
    assert messages == [{"role": "user", "content": [{"type": "image", "image": "own.png"}]}]


@pytest.mark.parametrize(("content", "images", "message"), [
    ([IMAGE], [], "prompt 'p': images: 0 for 1 places in the prompt; there must be an image for each place"),
    ([IMAGE], ["a", "b"], "prompt 'p': images: 2 for 1 places in the prompt"),
    ([{"type": "image", "image": "own.png"}], ["a"], "prompt 'p': images: 1 for 0 places in the prompt"),
    ([{"type": "image", "image": {"bytes": "x"}}], [],
     "prompt 'p': an image part: expected a path, a URL or a data URI, found dict"),
    ([{"type": "image_url"}], [],
     "prompt 'p': an image_url part: expected a path, a URL or a data URI, found NoneType"),
    ([{"type": "image", "image": ""}], [], "prompt 'p': an image part: expected a path"),
    ([{"type": "video", "video": "a.mp4"}], [], "prompt 'p': a part of type 'video': only text and images can be read"),
])
def test_what_cannot_be_shown_is_named(content: list[dict[str, Any]], images: list[str], message: str):
    with pytest.raises(InputError) as raised:
        chat([{"role": "user", "content": content}], *images)
    assert str(raised.value).startswith(message)
