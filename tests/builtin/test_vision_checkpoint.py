"""The shipped vision checkpoint: small, a plain Hugging Face folder, in step with the wordings; and it looks."""

import json
import random
import re
from dataclasses import replace

import pytest

from sparkcli.builtin import checkpoint
from sparkcli.builtin.demonstrations import Demonstration, Mixture, templates
from sparkcli.builtin.streams import Split
from sparkcli.builtin.tiny_vision import vocabulary
from sparkcli.builtin.tiny_vision.demonstrations import SUBJECT
from sparkcli.builtin.tiny_vision.pictures import picture
from sparkcli.builtin.tiny_vision.problem import Problem
from sparkcli.builtin.tiny_vision.task import problems
from sparkcli.builtin.vocabulary import END

FOLDER = checkpoint("builtin:tiny-vision")
KINDS = ("pointwise", "pairwise", "reflection")
ASKED = 64


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)


@pytest.fixture(scope="module")
def net(tokenizer):
    """The shipped weights in the net that the maker trains."""
    from transformers import Qwen2_5_VLForConditionalGeneration

    from sparkcli.builtin.tiny_vision.warmstart import TinyVision

    made = TinyVision(tokenizer, seed=0)
    made.model = Qwen2_5_VLForConditionalGeneration.from_pretrained(FOLDER, local_files_only=True)
    return made


def held_out(count: int) -> list[Demonstration[Problem]]:
    rng = random.Random("held out")
    mixture = Mixture(careful=1.0, hard=0.0, judge=0.0, compare=0.0, reflect=0.0)
    return [SUBJECT.demonstrate(mixture, rng, held_out=True) for _ in range(count)]


def test_it_is_small_and_complete() -> None:
    files = {path.name for path in FOLDER.iterdir()}
    assert files == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 5_000_000


def test_model_and_tokenizer_load_and_agree(net, tokenizer) -> None:
    import torch

    model = net.model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.config.text_config.vocab_size == len(tokenizer)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id == model.config.text_config.eos_token_id
    assert tokenizer.decode([tokenizer.eos_token_id]) == END
    assert model.config.image_token_id == tokenizer.convert_tokens_to_ids(vocabulary.IMAGE)


def test_the_folder_has_the_architecture_that_the_maker_builds(tokenizer) -> None:
    from sparkcli.builtin.tiny_vision.warmstart import TinyVision

    made = TinyVision(tokenizer, seed=0).model.config.to_dict()
    shipped = json.loads((FOLDER / "config.json").read_text())
    assert {part: {key: made[part][key] for key in shipped[part]} for part in ("text_config", "vision_config")} == {
        part: shipped[part] for part in ("text_config", "vision_config")}


def test_the_shipped_tokenizer_is_what_the_maker_builds() -> None:
    shipped = json.loads((FOLDER / "tokenizer.json").read_text())
    assert json.loads(vocabulary.build().backend_tokenizer.to_str()) == shipped


def test_pixels_are_normalised_by_numbers_that_the_folder_names() -> None:
    """vLLM takes them from there."""
    told = json.loads((FOLDER / "preprocessor_config.json").read_text())
    assert told["image_mean"] == [vocabulary.MEAN] * 3
    assert told["image_std"] == [vocabulary.DEVIATION] * 3
    assert (told["do_rescale"], told["do_normalize"]) == (True, True)
    assert (told["patch_size"], told["merge_size"], told["temporal_patch_size"]) == (8, 2, 2)


def test_the_chat_template_puts_one_placeholder_for_the_picture(tokenizer) -> None:
    parts = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Add the bars red, blue."}]}]
    text = [{"role": "user", "content": "Add the bars red, blue."}]
    shown = "<|vision_start|><|image_pad|><|vision_end|>"
    assert tokenizer.apply_chat_template(parts, add_generation_prompt=True, tokenize=False) == (
        f"<|im_start|>user\n{shown}Add the bars red, blue.<|im_end|><|im_start|>assistant\n")
    assert tokenizer.apply_chat_template(text, add_generation_prompt=True, tokenize=False) == (
        "<|im_start|>user\nAdd the bars red, blue.<|im_end|><|im_start|>assistant\n")


def test_each_fixed_stretch_of_a_wording_is_one_token(tokenizer) -> None:
    """Fails after an edit of a wording: the shipped checkpoint has never read it; make a new one."""
    for kind in KINDS:
        for template in templates(kind):
            for stretch in re.split(r"\{\{\w+\}\}", str(template["text"])):
                assert len(tokenizer(stretch).input_ids) <= 1, (template["name"], stretch)


@pytest.mark.parametrize(("split", "most"), [("test", 14), ("hard", 41)])
def test_questions_are_short(tokenizer, split: Split, most: int) -> None:
    """After a full stop the scale of a chart is spelt byte by byte."""
    for prompt in problems(split, 0, 300):
        assert len(tokenizer(prompt.prompt).input_ids) <= most, prompt.prompt


def test_any_text_survives_the_tokenizer(tokenizer) -> None:
    rng = random.Random(0)
    texts = [d.prompt + d.reply for d in (SUBJECT.demonstrate(Mixture(careful=0.5), rng) for _ in range(200))]
    for text in [*texts, "entered, measured, blueish\n", "日本 🙂", " . , = "]:
        assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_the_maker_reads_pictures_as_the_image_processor_does() -> None:
    import torch

    from sparkcli.builtin.tiny_vision.warmstart import GRID, pixels

    shown = [example.problem for example in held_out(4)]
    read = vocabulary.image_processor()([picture(problem) for problem in shown], return_tensors="pt")
    assert read["image_grid_thw"].tolist() == [list(GRID)] * 4
    torch.testing.assert_close(pixels(shown), read["pixel_values"], rtol=0, atol=1e-6)


def test_the_maker_counts_positions_as_the_model_does(net) -> None:
    from sparkcli.builtin.tiny_vision.warmstart import grids, positions

    examples = held_out(3)
    batch = net.batch(list(zip(examples, net.ids(examples), strict=True)))
    shown_BT = batch.ids_BT == net.model.config.image_token_id
    expected, _ = net.model.model.get_rope_index(batch.ids_BT, shown_BT.int(), grids(3))
    assert positions(shown_BT).tolist() == expected.tolist()


def right(net, examples: list[Demonstration[Problem]]) -> float:
    """Share of right greedy answers where the model is kept from answering at once."""
    from sparkcli.builtin.making import replies, terse_token

    answers = replies(net, examples, [terse_token(net.tokenizer)])
    ends = [example.reply[example.reply.index(r"\boxed{"):] for example in examples]
    return sum(answer.endswith(end) for answer, end in zip(answers, ends, strict=True)) / len(examples)


def test_it_looks(net) -> None:
    """With the pictures shuffled among questions of the same family its answers fall to chance."""
    examples = held_out(ASKED)
    shuffled = []
    for family in ("numbers", "bars"):
        own = [example for example in examples if example.problem.family == family]
        pictures = [example.problem for example in own[1:] + own[:1]]
        shuffled += [replace(example, problem=seen) for example, seen in zip(own, pictures, strict=True)]
    assert right(net, examples) > 0.9
    assert right(net, shuffled) < 0.2
