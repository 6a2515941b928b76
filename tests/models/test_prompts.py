"""What the network reads of a prompt."""

from pathlib import Path

import pytest
from tests.models.tiny import load_tiny, write_model
from transformers import GenerationConfig

from sparkcli.errors import InputError
from sparkcli.models.policy import Policy
from sparkcli.models.prompts import encode
from sparkcli.models.reader import stop_ids
from sparkcli.records import Prompt

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}]


@pytest.fixture(scope="module")
def policy(model_folder: Path) -> Policy:
    return load_tiny(model_folder)


def read(prompt: Prompt, policy: Policy) -> str:
    return policy.reader.tokenizer.decode(encode(prompt, policy.reader).token_ids)


def test_a_string_is_one_user_message(policy: Policy) -> None:
    expected = "<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n"
    assert read(Prompt(id="x", prompt="2 + 2?"), policy) == expected


def test_ids_are_those_of_the_tokenizers_own_template(policy: Policy) -> None:
    expected = policy.reader.tokenizer.apply_chat_template(MESSAGES, add_generation_prompt=True)["input_ids"]
    assert encode(Prompt(id="x", prompt=MESSAGES), policy.reader).token_ids == expected


def test_text_parts_are_their_text(policy: Policy) -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "2 + 2?"}]}]
    assert read(Prompt(id="x", prompt=parts), policy) == read(Prompt(id="x", prompt="2 + 2?"), policy)


def test_without_a_template_the_plain_text_is_read(tmp_path: Path) -> None:
    plain = load_tiny(write_model(tmp_path / "plain", chat=False))
    assert read(Prompt(id="x", prompt="2 + 2 = "), plain) == "2 + 2 = "
    assert read(Prompt(id="x", prompt=MESSAGES), plain) == "Be brief.\n\n2 + 2?"


@pytest.mark.parametrize(("prompt", "limit", "message"), [
    (Prompt(id="x", prompt="1" * 50), 20, "'x': .* more than max_prompt_tokens"),
    (Prompt(id="x", prompt="1" * 600), None, "'x': .* context of 512"),
    (Prompt(id="x", prompt="What is it?", images=("a.png",)), None, r"'x': has images, and .* reads text only"),
    (Prompt(id="x", prompt=[{"role": "user", "content": [{"type": "image"}]}]), None, "'x': images: 0 for 1 places"),
    (Prompt(id="x", prompt=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a"}}]}]), None,
     "'x': has images"),
])
def test_what_cannot_be_read_is_named(policy: Policy, prompt: Prompt, limit: int | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        encode(prompt, policy.reader, limit)


def test_an_empty_prompt_without_a_template_is_named(tmp_path: Path) -> None:
    plain = load_tiny(write_model(tmp_path / "plain", chat=False))
    with pytest.raises(InputError, match="'x': is empty"):
        encode(Prompt(id="x", prompt=""), plain.reader)


def test_a_template_that_refuses_is_the_prompts_error(policy: Policy) -> None:
    template = policy.reader.tokenizer.chat_template
    policy.reader.tokenizer.chat_template = "{{ raise_exception('no system role') }}"
    try:
        with pytest.raises(InputError, match=r"'x': .*no system role"):
            encode(Prompt(id="x", prompt=MESSAGES), policy.reader)
    finally:
        policy.reader.tokenizer.chat_template = template


def test_every_end_marker_stops(policy: Policy) -> None:
    end, chat_end = (policy.reader.tokenizer.convert_tokens_to_ids(t) for t in ("<|endoftext|>", "<|im_end|>"))
    assert policy.reader.stop_ids == [chat_end]
    assert stop_ids(policy.reader.tokenizer, GenerationConfig(eos_token_id=[end])) == sorted([end, chat_end])


def test_the_context_is_the_models(policy: Policy) -> None:
    assert policy.reader.context == 512
