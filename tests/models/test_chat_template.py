"""What a model's chat template is given, what it must not be given, and where it says that a reply ends."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.models.tiny import byte_tokenizer, load_tiny, write_model
from transformers import GenerationConfig, PreTrainedTokenizerFast

from sparkcli.config import ModelConfig, RolloutConfig
from sparkcli.engines.transformers.engine import TransformersEngine
from sparkcli.errors import InputError, UsageError
from sparkcli.models.chat_template import end_of_turn
from sparkcli.models.prompts import encode
from sparkcli.models.reader import Reader, load_reader, stop_ids
from sparkcli.records import Prompt, from_json
from sparkcli.verifiers.registry import load

CHATML = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
          "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
LLAMA = ("{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>"
         "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}")
GEMMA = ("{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
         "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
         "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}")
MISTRAL = ("{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %}"
           "{{ m.content }} </s>{% endif %}{% endfor %}")
HARMONY = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{% if m.thinking %}<|start|>assistant<|channel|>analysis"
    "<|message|>{{ m.thinking }}<|end|>{% endif %}<|start|>assistant<|channel|>final<|message|>{{ m.content }}"
    "{% if loop.last and not add_generation_prompt %}<|return|>{% else %}<|end|>{% endif %}"
    "{% else %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}")
PLAIN = ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
         "{% if add_generation_prompt %}assistant:{% endif %}")
THINKING = CHATML.replace(
    "assistant\n{%", "assistant\n{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{%")
CALLING = "{% if tools %}<tools>{% for t in tools %}{{ t.function.name }};{% endfor %}</tools>\n{% endif %}" + CHATML
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}]


def tokenizer_of(template: str, eos: str | None, *markers: str) -> PreTrainedTokenizerFast:
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": list(markers)})
    tokenizer.eos_token = eos
    tokenizer.chat_template = template
    return tokenizer


@pytest.fixture(scope="module")
def reader(model_folder: Path) -> Reader:
    return load_tiny(model_folder).reader


def with_template(reader: Reader, template: str, **settings: Any) -> Reader:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    return replace(reader, tokenizer=tokenizer, **settings)


def text(prompt: Prompt, reader: Reader) -> str:
    return str(reader.tokenizer.decode(encode(prompt, reader).token_ids))


# Where a reply ends.


@pytest.mark.parametrize(("template", "eos", "declared", "stops"), [
    pytest.param(HARMONY, "<|return|>", ["<|return|>", "<|endoftext|>", "<|call|>"],
                 ["<|return|>", "<|endoftext|>", "<|call|>"], id="gpt-oss goes on behind <|end|>"),
    pytest.param(HARMONY, "<|return|>", None, ["<|return|>"], id="gpt-oss without generation settings"),
    pytest.param(LLAMA, "<|eot_id|>", ["<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"],
                 ["<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"], id="Llama 3.1"),
    pytest.param(LLAMA, "<|end_of_text|>", None, ["<|end_of_text|>", "<|eot_id|>"], id="Llama 3 that declares nothing"),
    pytest.param(CHATML, "<|im_end|>", ["<|im_end|>", "<|endoftext|>"], ["<|im_end|>", "<|endoftext|>"], id="Qwen"),
    pytest.param(CHATML, "<|endoftext|>", "<|endoftext|>", ["<|endoftext|>"], id="Qwen's base as it declares itself"),
    pytest.param(CHATML, "<|im_end|>", "<|endoftext|>", ["<|im_end|>", "<|endoftext|>"],
                 id="a fine-tuned base whose tokenizer alone was told"),
    pytest.param(CHATML, "<|endoftext|>", None, ["<|im_end|>", "<|endoftext|>"], id="ChatML that declares nothing"),
    pytest.param(GEMMA, "<eos>", ["<eos>", "<end_of_turn>"], ["<eos>", "<end_of_turn>"], id="Gemma"),
    pytest.param(GEMMA, "<eos>", None, ["<eos>", "<end_of_turn>"], id="Gemma that declares nothing"),
    pytest.param(MISTRAL, "</s>", None, ["</s>"], id="behind a space"),
    pytest.param(PLAIN, "</s>", None, ["</s>"], id="a template without markers"),
    pytest.param("{{ raise_exception('tools only') }}", "</s>", None, ["</s>"], id="a template that refuses"),
    pytest.param(CHATML, None, None, ["<|im_end|>"], id="nothing but a template"),
])
def test_what_stops(template: str, eos: str | None, declared: list[str] | str | None, stops: list[str]) -> None:
    tokenizer = tokenizer_of(template, eos, "<|return|>", "<|call|>", "<|end|>", "<|start|>", "<|channel|>",
                             "<|message|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|start_header_id|>",
                             "<|end_header_id|>", "<start_of_turn>", "<end_of_turn>", "<eos>", "</s>")
    ids: Any = declared if declared is None else tokenizer.convert_tokens_to_ids(declared)
    found = stop_ids(tokenizer, GenerationConfig(eos_token_id=ids))
    assert found == sorted(tokenizer.convert_tokens_to_ids(stops))


def test_a_model_without_generation_settings_is_asked_for_its_configuration(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "generation_config.json").unlink()
    tokenizer = tokenizer_of(GEMMA, None, "<start_of_turn>", "<end_of_turn>")
    tokenizer.save_pretrained(folder)
    found = load_reader(folder, ModelConfig(name=str(folder))).stop_ids
    assert found == sorted(tokenizer.convert_tokens_to_ids(["<|im_end|>", "<end_of_turn>"]))


def test_the_end_of_a_turn_is_a_marker_or_nothing() -> None:
    assert end_of_turn(tokenizer_of(PLAIN, None), None) is None
    assert end_of_turn(byte_tokenizer(chat=False), None) is None


# A reply that has begun.


CONTINUED = [{"role": "user", "content": "2 + 3?"}, {"role": "assistant", "content": r"So it is \boxed{"}]


@pytest.mark.parametrize("template", [CHATML, LLAMA, GEMMA, MISTRAL, HARMONY, PLAIN])
def test_a_last_message_of_the_assistant_is_continued(reader: Reader, template: str) -> None:
    told = with_template(reader, template)
    expected = told.tokenizer.apply_chat_template(CONTINUED, continue_final_message=True, tokenize=False)
    found = text(Prompt(id="p", prompt=CONTINUED), told)
    assert found == expected and found.endswith(r"So it is \boxed{") and found.count("2 + 3?") == 1


def test_without_a_template_it_is_continued_as_well(tmp_path: Path) -> None:
    plain = load_tiny(write_model(tmp_path / "plain", chat=False)).reader
    assert text(Prompt(id="p", prompt=CONTINUED), plain) == "2 + 3?\n\nSo it is \\boxed{"


@pytest.mark.parametrize("template", [
    "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}",
    "{% for m in messages %}{{ m.content | upper }}{% endfor %}"])
def test_a_template_that_cannot_continue_is_the_prompts_error(reader: Reader, template: str) -> None:
    with pytest.raises(InputError, match=r"'p': the model's chat template or processor refuses it: continue_final"):
        encode(Prompt(id="p", prompt=CONTINUED), with_template(reader, template))


def test_the_completion_is_the_whole_reply_and_the_tokens_are_what_was_sampled(model_folder: Path) -> None:
    policy = load_tiny(model_folder)
    prompt = Prompt(id="p", prompt=CONTINUED, answer="5")
    [group] = TransformersEngine(policy).sample([prompt], RolloutConfig(samples=2, max_tokens=5, seed=1))
    for rollout in group:
        assert rollout.prompt_token_ids == tuple(encode(prompt, policy.reader).token_ids)
        assert rollout.token_ids and [rollout.completion] == [
            r"So it is \boxed{" + sampled for sampled in policy.reader.texts([rollout.token_ids])]
    assert load("math").verify("5", r"So it is \boxed{" + "5}").status == "correct"


# What a template is given beside messages.


@pytest.mark.parametrize(("setting", "own", "ends"), [
    ({}, None, "assistant\n"), ({"enable_thinking": False}, None, "</think>\n\n"),
    ({}, {"enable_thinking": False}, "</think>\n\n"),
    ({"enable_thinking": False}, {"enable_thinking": True}, "assistant\n")])
def test_variables_come_from_the_prompt_before_the_settings(reader: Reader, setting: dict[str, Any],
                                                            own: dict[str, Any] | None, ends: str) -> None:
    told = with_template(reader, THINKING, chat_template_kwargs=setting)
    assert text(Prompt(id="p", prompt="2?", chat_template_kwargs=own), told).endswith(ends)


def test_the_settings_reach_the_reader(model_folder: Path) -> None:
    settings = ModelConfig(name=str(model_folder), chat_template_kwargs={"enable_thinking": False})
    assert load_reader(model_folder, settings).chat_template_kwargs == {"enable_thinking": False}


@pytest.mark.parametrize("name", ["tokenize", "chat_template", "add_generation_prompt", "messages", "tools"])
def test_what_is_no_variable_is_refused(reader: Reader, model_folder: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"chat_template_kwargs: {name} is no variable"):
        load_reader(model_folder, ModelConfig(name=str(model_folder), chat_template_kwargs={name: "x"}))
    with pytest.raises(InputError, match=f"'p': .*chat_template_kwargs: {name} is no variable"):
        encode(Prompt(id="p", prompt="2?", chat_template_kwargs={name: "x"}), reader)


def test_a_variable_that_the_template_does_not_know_is_told_once(reader: Reader,
                                                                 caplog: pytest.LogCaptureFixture) -> None:
    told = with_template(reader, CHATML, chat_template_kwargs={"enable_thnking": False})
    with caplog.at_level(logging.WARNING):
        assert text(Prompt(id="p", prompt="2?"), told) == text(Prompt(id="q", prompt="2?"), told)
    assert [record.getMessage() for record in caplog.records] == [
        "the model's chat template has no variable 'enable_thnking': what chat_template_kwargs say of it changes "
        "nothing"]


@pytest.mark.parametrize("tools", [TOOLS, '[{"type": "function", "function": {"name": "add"}}]'])
def test_tools_of_a_record_reach_the_template(reader: Reader, tools: object) -> None:
    prompt = from_json(Prompt, {"id": "p", "prompt": "2 + 3?", "tools": tools}, "p.jsonl:1")
    assert text(prompt, with_template(reader, CALLING)).startswith("<tools>add;</tools>\n<|im_start|>user\n")


def test_tools_that_would_not_be_shown_are_refused(reader: Reader, tmp_path: Path) -> None:
    prompt = Prompt(id="p", prompt="2?", tools=tuple(TOOLS))
    with pytest.raises(InputError, match=r"'p': .*it has tools, and the template does not show any"):
        encode(prompt, reader)
    with pytest.raises(InputError, match=r"'p': .*it has tools, and the model has no chat template"):
        encode(prompt, load_tiny(write_model(tmp_path / "plain", chat=False)).reader)


def test_what_tables_make_of_tools_and_variables_is_undone() -> None:
    tools = [{"function": {"name": "add", "parameters": {"a": {"type": "number", "enum": None}, "b": None}}}]
    prompt = from_json(Prompt, {"id": "p", "prompt": "2?", "tools": tools,
                                "chat_template_kwargs": {"enable_thinking": False, "effort": None}}, "p.jsonl:1")
    assert prompt.tools == ({"function": {"name": "add", "parameters": {"a": {"type": "number"}}}},)
    assert prompt.chat_template_kwargs == {"enable_thinking": False}


@pytest.mark.parametrize("tools", ["hammer", 3, ["hammer"], {"name": "add"}])
def test_what_is_no_list_of_tools_is_named(tools: object) -> None:
    with pytest.raises(InputError, match=r"p\.jsonl:1: tools: expected a list of tools, each a JSON schema"):
        from_json(Prompt, {"id": "p", "prompt": "2?", "tools": tools}, "p.jsonl:1")


@pytest.mark.parametrize("arguments", [{"a": 2}, '{"a": 2}'])
def test_turns_that_call_tools_need_no_content(reader: Reader, arguments: object) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": arguments}}
    turns = [{"role": "user", "content": "2 + 3?"}, {"role": "assistant", "content": None, "tool_calls": [call]},
             {"role": "tool", "content": "5", "tool_call_id": "1"}]
    template = CALLING.replace("{{ m.content }}", "{{ m.content }}{% for c in m.tool_calls or [] %}"
                                                  "{{ c.function.name }}({{ c.function.arguments.a }}){% endfor %}")
    prompt = from_json(Prompt, {"id": "p", "prompt": turns, "tools": TOOLS}, "p.jsonl:1")
    assert "assistant\nadd(2)<|im_end|>\n<|im_start|>tool\n5<|im_end|>" in text(prompt, with_template(reader, template))


# Text that is none.


def test_half_of_a_surrogate_pair_is_named_with_its_place(reader: Reader) -> None:
    turns = [{"role": "system", "content": "Be brief."},
             {"role": "user", "content": [{"type": "text", "text": "ok"}, {"type": "text", "text": "a\ud83d b"}]}]
    with pytest.raises(InputError) as caught:
        encode(Prompt(id="p", prompt=turns), reader)
    assert str(caught.value) == ("prompt 'p': message 2 (user), character 2: \\ud83d is half of a surrogate pair, and "
                                 "no text; repair or drop it")
