"""What a network reads of a prompt with images: what transformers' own processor makes of the same messages."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from PIL import Image
from tests.models.architectures import write_architecture
from tests.models.tiny import load_tiny
from tests.models.vision import Kind, write_pictures, write_vision_model
from tokenizers.processors import TemplateProcessing

from sparkcli.errors import InputError
from sparkcli.models.policy import Policy
from sparkcli.models.prompts import encode, load_pictures, scaled_down
from sparkcli.records import Prompt


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture(scope="module")
def folder(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vision_model(tmp_path_factory.mktemp("model"), kind=kind)


@pytest.fixture(scope="module")
def policy(folder: Path) -> Policy:
    return load_tiny(folder)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def processor(kind: Kind, folder: Path) -> Any:
    """Made by hand of transformers' parts; the one for videos, which takes torchvision, is never asked."""
    base: Any = transformers.Qwen2_5_VLProcessor if kind == "qwen2_5_vl" else transformers.Qwen3VLProcessor
    whole = type(base.__name__, (base,), {"check_argument_for_proper_class": lambda *_: None})
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return whole(transformers.AutoImageProcessor.from_pretrained(folder), tokenizer, None,
                 chat_template=tokenizer.chat_template)


def content(*parts: str) -> list[dict[str, str]]:
    """Parts of a message: paths of pictures, and text."""
    return [{"type": "image", "path": part} if part.endswith(".png") else {"type": "text", "text": part}
            for part in parts]


def made(processor: Any, *messages: dict[str, Any]) -> dict[str, Any]:
    """What the processor makes of messages; it is given the pictures themselves, since torchvision may open files."""
    opened = [{**message, "content": [
        {"type": "image", "image": Image.open(part["path"])} if part["type"] == "image" else part
        for part in message["content"]]} for message in messages]
    return processor.apply_chat_template(opened, add_generation_prompt=True, tokenize=True, return_dict=True,
                                         return_tensors="pt")


@pytest.mark.parametrize("names", [["square"], ["wide"], ["odd"], ["small"], ["large"], ["odd", "large", "small"]])
def test_ids_and_pixels_are_those_of_the_processor(
    policy: Policy, processor: Any, pictures: dict[str, str], names: list[str]
) -> None:
    images = [pictures[name] for name in names]
    messages = [{"role": "system", "content": content("Be brief.")},
                {"role": "user", "content": content(*images, "How many?")}]
    expected = made(processor, *messages)
    whole = Prompt(id="x", prompt=messages)
    first = Prompt(id="x", prompt=[messages[0], {"role": "user", "content": "How many?"}], images=tuple(images))
    for prompt in (whole, first):
        encoded = encode(prompt, policy.reader)
        assert encoded.token_ids == expected["input_ids"][0].tolist()
        assert encoded.kinds_1T is not None and torch.equal(encoded.kinds_1T, expected["mm_token_type_ids"])
        assert encoded.pixels.keys() == {"pixel_values", "image_grid_thw"}
        assert all(torch.equal(tensor, expected[name]) for name, tensor in encoded.pixels.items())


def test_images_stand_where_the_message_has_them(policy: Policy, processor: Any, pictures: dict[str, str]) -> None:
    parts = content("Is ", pictures["wide"], " or ", pictures["odd"], " larger?")
    expected = made(processor, {"role": "user", "content": parts})
    places = [part if part["type"] == "text" else {"type": "image"} for part in parts]
    prompt = Prompt(id="x", prompt=[{"role": "user", "content": places}], images=(pictures["wide"], pictures["odd"]))
    encoded = encode(prompt, policy.reader)
    assert encoded.token_ids == expected["input_ids"][0].tolist()
    assert torch.equal(encoded.pixels["pixel_values"], expected["pixel_values"])


@pytest.mark.parametrize("parts", [["2 + 2?"], ["2 + ", "2?"]])
def test_a_text_is_read_as_by_the_processor(policy: Policy, processor: Any, parts: list[str]) -> None:
    expected = made(processor, {"role": "user", "content": content(*parts)})
    encoded = encode(Prompt(id="x", prompt=[{"role": "user", "content": content(*parts)}]), policy.reader)
    assert [encoded.token_ids] == expected["input_ids"].tolist() and not encoded.pixels and encoded.kinds_1T is None


PARTS_ALONE = (
    "{% for m in messages %}{{ m['role'].upper() + ': ' }}"
    "{% for part in m['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>' }}{% endfor %}"
    "{% for part in m['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] + ' ' }}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
"""As those of LLaVA, Idefics and SmolVLM: of a message that is plain text they see nothing."""


def test_a_template_that_knows_parts_alone_is_given_parts_of_text_too(tmp_path: Path) -> None:
    write_architecture(tmp_path, "llava")
    (tmp_path / "chat_template.jinja").write_text(PARTS_ALONE)
    reader = load_tiny(tmp_path).reader
    token_ids = encode(Prompt(id="x", prompt="2 + 2?"), reader).token_ids
    assert reader.tokenizer.decode(token_ids) == "USER: 2 + 2? ASSISTANT:"


def test_a_text_begins_as_a_prompt_with_images_does(pictures: dict[str, str], tmp_path: Path) -> None:
    """A tokenizer may put a marker before all it reads."""
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(write_architecture(tmp_path, "llava"))
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)])
    tokenizer.save_pretrained(tmp_path)
    reader = load_tiny(tmp_path).reader
    for images in ((), (pictures["odd"],)):
        assert encode(Prompt(id="x", prompt="?", images=images), reader).token_ids[0] == tokenizer.bos_token_id


def test_larger_images_are_scaled_down_and_cost_less(folder: Path, pictures: dict[str, str]) -> None:
    prompt = Prompt(id="x", prompt="?", images=(pictures["large"],))
    lengths = [len(encode(prompt, load_tiny(folder, max_pixels=pixels).reader).token_ids)
               for pixels in (1 << 20, 16384, 4096, 1024)]
    assert lengths[0] == lengths[1] > lengths[2] > lengths[3]


def test_a_processor_without_a_limit_is_given_smaller_images(pictures: dict[str, str], tmp_path: Path) -> None:
    reader = load_tiny(write_architecture(tmp_path, "idefics3"), max_pixels=1000).reader
    small, large = load_pictures("x", [pictures["small"], pictures["large"]], reader)
    assert small.size == (9, 14)
    assert large.size == (38, 25)


@pytest.mark.parametrize("size", [(300, 200), (1, 5000), (5000, 1), (40, 25), (33, 31)])
@pytest.mark.parametrize("most", [1, 100, 1000])
def test_scaled_down_images_have_so_many_pixels_at_most(size: tuple[int, int], most: int) -> None:
    width, height = scaled_down(Image.new("RGB", size), most).size
    assert 1 <= width * height <= most


def test_the_mark_of_a_video_beside_an_image_is_named(policy: Policy, pictures: dict[str, str]) -> None:
    asked = Prompt(id="x", prompt="What is <|video_pad|>?")
    assert encode(asked, policy.reader).token_ids
    with pytest.raises(InputError, match=r"'x': .*<\|video_pad\|>.* stands for an image or a video"):
        encode(dataclasses.replace(asked, images=(pictures["odd"],)), policy.reader)


def test_a_mark_that_parts_of_text_make_together_is_named(policy: Policy, pictures: dict[str, str]) -> None:
    parts = content(pictures["odd"], "<|image", "_pad|>")
    shown = [{"type": "image", "image": part["path"]} if part["type"] == "image" else part for part in parts]
    with pytest.raises(InputError, match=r"'x': .*<\|image_pad\|>.* stands for an image"):
        encode(Prompt(id="x", prompt=[{"role": "user", "content": shown}]), policy.reader)


def test_the_mark_of_an_image_in_a_text_is_named(policy: Policy, pictures: dict[str, str]) -> None:
    for images in ((), (pictures["odd"],)):
        with pytest.raises(InputError, match=r"'x': .*<\|image_pad\|>.* stands for an image"):
            encode(Prompt(id="x", prompt="What is <|image_pad|>?", images=images), policy.reader)


def test_a_picture_that_is_too_thin_for_the_processor_is_named(policy: Policy, tmp_path: Path) -> None:
    Image.new("RGB", (500, 1)).save(tmp_path / "line.png")
    with pytest.raises(InputError, match=r"'x': .*aspect ratio"):
        encode(Prompt(id="x", prompt="?", images=(str(tmp_path / "line.png"),)), policy.reader)


def test_images_elsewhere_are_fetched_with_leave_alone(policy: Policy) -> None:
    with pytest.raises(InputError, match=r"'x': image 1 \(http://127\.0\.0\.1:9/a\.png\): .*--allow-remote-images"):
        encode(Prompt(id="x", prompt="?", images=("http://127.0.0.1:9/a.png",)), policy.reader)
