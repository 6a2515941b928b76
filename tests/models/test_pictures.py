"""Pixels are kept while there is room, and made again where there is none."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.models.tiny import load_tiny
from tests.models.vision import write_pictures, write_vision_model

from sparkcli.errors import InputError
from sparkcli.models import pictures as room
from sparkcli.models.pictures import Pictures
from sparkcli.models.policy import Policy
from sparkcli.records import Prompt


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return load_tiny(write_vision_model(tmp_path_factory.mktemp("model")))


@pytest.fixture
def prompts(tmp_path: Path) -> list[Prompt]:
    """Three, of 64 patches each: 98,304 bytes of pixels and 24 of sizes."""
    files = write_pictures(tmp_path)
    return [Prompt(id=f"{number}", prompt=text, images=(files[name],))
            for number, (text, name) in enumerate([("a", "square"), ("b", "other"), ("c", "square")])]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the prompts that were read, as they are."""
    ids: list[str] = []
    encode = room.encode
    monkeypatch.setattr(room, "encode", lambda prompt, *rest: ids.append(prompt.id) or encode(prompt, *rest))
    return ids


def test_what_there_is_room_for_is_read_once(policy: Policy, prompts: list[Prompt], read: list[str]) -> None:
    pictures = Pictures(policy)
    first = [pictures.placed(prompt) for prompt in prompts]
    assert [pictures.placed(prompt) for prompt in prompts] == first
    assert read == ["0", "1", "2"]


def test_the_one_asked_for_longest_ago_goes_first(policy: Policy, prompts: list[Prompt], read: list[str]) -> None:
    pictures = Pictures(policy, room=200_000)
    for number in (0, 1, 0, 2, 0, 1):
        pictures.placed(prompts[number])
    assert read == ["0", "1", "2", "1"]


def test_without_room_each_is_made_again_the_same(policy: Policy, prompts: list[Prompt], read: list[str]) -> None:
    pictures = Pictures(policy, room=0)
    one, again = pictures.placed(prompts[0]), pictures.placed(prompts[0])
    assert read == ["0", "0"]
    assert one.token_ids == again.token_ids and one.end == again.end
    assert torch.equal(one.pixels["pixel_values"], again.pixels["pixel_values"])


def test_equal_prompts_share_their_pixels(policy: Policy, prompts: list[Prompt], read: list[str]) -> None:
    pictures = Pictures(policy)
    twin = Prompt(id="twin", prompt="a", images=prompts[0].images)
    assert pictures.placed(twin) is pictures.placed(prompts[0])
    assert read == ["twin"]


def test_a_prompt_that_is_too_long_is_said_so_each_time(policy: Policy, prompts: list[Prompt]) -> None:
    pictures = Pictures(policy)
    pictures.placed(prompts[0])
    with pytest.raises(InputError, match=r"prompt '0': .* more than max_prompt_tokens"):
        pictures.placed(prompts[0], max_tokens=10)


def test_a_file_that_was_changed_meanwhile_is_said_so(policy: Policy, prompts: list[Prompt]) -> None:
    pictures = Pictures(policy, room=0)
    pictures.placed(prompts[0])
    Image.new("RGB", (32, 64)).save(prompts[0].images[0])
    pictures.room = 1 << 20
    for _ in range(2):  # what was refused is not kept
        with pytest.raises(InputError, match="prompt '0': its images were changed"):
            pictures.placed(prompts[0])
