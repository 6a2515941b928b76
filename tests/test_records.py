"""Records: read strictly, written compactly, nothing lost on the way."""

import json

import jsonschema
import orjson
import pytest

from sparkcli.errors import InputError
from sparkcli.records import (
    RECORDS,
    Prompt,
    Rollout,
    Scored,
    Source,
    Verdict,
    content_id,
    dumps,
    extend,
    from_json,
    groups,
    question_of,
    schema,
    to_json,
)

PLAIN = {"id": "p1", "prompt": "1 + 1?", "answer": "2"}
FULL = {
    **PLAIN, "question": "1 + 1", "verifier": {"name": "number", "rel_tol": 0.01}, "images": ["a.png"],
    "source": [{"id": "p0", "sample": 3}], "sample": 0, "samples": 2, "completion": "\\boxed{2}",
    "finish_reason": "length",
    "prompt_token_ids": [1, 2], "token_ids": [3], "logprobs": [-0.5], "policy": "abc",
    "sampling": {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "seed": 0, "max_tokens": 8, "engine": "scripted/1"},
    "verdict": {"status": "timeout", "verifier": "math"}, "reward": None, "difficulty": {"level": 3},
}
HALF_CHARACTERS = ["\ud83d", "a\udc00b", "\udc00\ud83d", "\ud800\0"]
"""Lone surrogates: what cut UTF-16 leaves, and Python's `json` writes."""


def test_a_record_is_read_and_written_unchanged_with_its_unknown_fields() -> None:
    scored = from_json(Scored, FULL, "f:1")
    assert scored.extra == {"difficulty": {"level": 3}}
    assert orjson.loads(dumps(scored)) == FULL


def test_an_unknown_reward_is_written_as_null_not_left_out() -> None:
    assert to_json(from_json(Scored, FULL, "f:1"))["reward"] is None


def test_how_a_completion_ended_is_written_where_it_is_known_and_not_made_up() -> None:
    for reason in ("stop", "length", "error"):
        assert to_json(from_json(Scored, {**FULL, "finish_reason": reason}, "f:1"))["finish_reason"] == reason
    without = {name: item for name, item in FULL.items() if name != "finish_reason"}
    for silent in (without, {**FULL, "finish_reason": None}):
        assert "finish_reason" not in to_json(from_json(Scored, silent, "f:1"))
    with pytest.raises(InputError, match="finish_reason: expected one of stop, length, error, found 'eos'"):
        from_json(Scored, {**FULL, "finish_reason": "eos"}, "f:1")


def test_a_missing_id_is_made_from_the_content() -> None:
    without = {"prompt": "1 + 1?", "answer": "2"}
    assert from_json(Prompt, without, "f:1").id == content_id(without) != content_id({**without, "answer": "3"})


def test_whole_numbers_are_read_as_floats_where_floats_are_meant() -> None:
    rollout = from_json(Rollout, {**FULL, "logprobs": [0, -1.5]}, "f:1")
    assert rollout.logprobs == (0.0, -1.5)


@pytest.mark.parametrize(("change", "message"), [
    ({"prompt": 3}, "f.jsonl:7: prompt: expected a string or a list of chat messages, found an integer (3)"),
    ({"answer": 2}, "f.jsonl:7: answer: expected a string or null, found an integer (2)"),
    ({"task": "sing"}, "f.jsonl:7: task: expected one of solve, judge, compare, reflect, found 'sing'"),
    ({"samples": None}, "f.jsonl:7: samples: expected an integer, found null"),
    ({"sample": True}, "f.jsonl:7: sample: expected an integer, found true or false"),
    ({"token_ids": [1, "2"]}, "f.jsonl:7: token_ids: expected a list of ints, found other items in the list"),
    ({"source": [{"id": "a"}]}, "f.jsonl:7: source[0].sample: expected, missing"),
    ({"sampling": {**FULL["sampling"], "top_p": "1"}}, "f.jsonl:7: sampling.top_p: expected a number, found a string"),
    ({"prompt": [{"role": "user"}]}, "f.jsonl:7: prompt[0].content: expected a string or a list of parts, found null"),
])
def test_a_wrong_type_is_named_with_its_place(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as raised:
        from_json(Rollout, {**FULL, **change}, "f.jsonl:7")
    assert str(raised.value) == message


def test_a_missing_field_is_named_with_the_nearest_that_is_there() -> None:
    with pytest.raises(InputError, match=r"f:1: prompt: expected in a prompt record, missing; did you mean 'promt'\?"):
        from_json(Prompt, {"id": "a", "promt": "x"}, "f:1")


def test_a_stage_adds_and_carries() -> None:
    prompt = from_json(Prompt, {**PLAIN, "topic": "sums", "completion": "of an earlier stage"}, "f:1")
    rollout = extend(prompt, Rollout, sample=0, samples=1, completion="2")
    assert (rollout.id, rollout.answer, rollout.completion) == ("p1", "2", "2")
    assert rollout.extra == {"topic": "sums"}  # the stage's own field takes the place of the carried one


def test_a_carried_field_may_have_any_name() -> None:
    prompt = from_json(Prompt, {**PLAIN, "extra": 1}, "f:1")
    assert to_json(extend(prompt, Rollout, sample=0, samples=1, completion="2"))["extra"] == 1


def test_a_record_as_json_values_can_be_read_again() -> None:
    scored = from_json(Scored, FULL, "f:1")
    assert to_json(scored) == FULL
    assert from_json(Scored, to_json(scored), "f:1") == scored


@pytest.mark.parametrize("text", HALF_CHARACTERS)
def test_text_that_is_no_unicode_is_carried_through(text: str) -> None:
    value = {**FULL, "id": text, "prompt": f"{text}?", "completion": text, "note": {text: [text]}}
    line = dumps(extend(from_json(Rollout, value, "f:1"), Rollout))
    assert json.loads(line) == value
    assert line.isascii() and line.endswith(b"}\n")


@pytest.mark.parametrize("text", HALF_CHARACTERS)
def test_text_that_is_no_unicode_has_an_id_too(text: str) -> None:
    one, other = ({"prompt": text, "answer": answer} for answer in "12")
    assert from_json(Prompt, one, "f:1").id == content_id(one) != content_id(other)


def test_tables_have_null_where_there_are_no_images() -> None:
    assert from_json(Prompt, {"id": "1", "prompt": "?", "images": None}, "f:1").images == ()


def test_samples_of_a_prompt_are_grouped_as_they_stand() -> None:
    rollouts = [Rollout(id=id, prompt="", sample=s, samples=2, completion="") for id in "ab" for s in range(2)]
    assert [[r.sample for r in group] for group in groups(rollouts)] == [[0, 1], [0, 1]]
    with pytest.raises(InputError, match="'a': its samples do not stand together"):
        list(groups([*rollouts, rollouts[0]]))


def test_the_question_is_the_bare_one_where_it_is_known() -> None:
    chat = [{"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a.png"}},
                                         {"type": "text", "text": "How many?"}]}]
    assert question_of(Prompt(id="1", prompt=chat)) == "How many?"
    assert question_of(Prompt(id="1", prompt="Q. Answer in a box.", question="Q.")) == "Q."


def test_a_question_tells_where_its_images_stand() -> None:
    def asked(*parts: str) -> str:
        content = [{"type": "image"} if part == "IMAGE" else {"type": "text", "text": part} for part in parts]
        earlier = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Like this."}]}
        return question_of(Prompt(id="1", prompt=[earlier, {"role": "user", "content": content}]))

    assert asked("IMAGE", " shows a cat, ", "IMAGE", " a dog.") == "[image 2] shows a cat, [image 3] a dog."
    assert asked("Which is larger: ", "IMAGE", " or ", "IMAGE") == "Which is larger: [image 2] or [image 3]"
    assert asked("IMAGE", "IMAGE", "How many?") == asked("How many?\n", "IMAGE") == "How many?"
    assert asked("How many?", "Count them.") == "How many?\nCount them."


@pytest.mark.parametrize("name", RECORDS)
def test_schemas_are_valid_and_describe_every_field(name: str) -> None:
    found = schema(RECORDS[name])
    jsonschema.Draft202012Validator.check_schema(found)
    assert all(field["description"] for field in found["properties"].values())


def test_the_schema_accepts_what_is_written_and_rejects_what_is_not_read() -> None:
    jsonschema.validate(FULL, schema(Scored))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**FULL, "verdict": {"status": "right", "verifier": "math"}}, schema(Scored))


def test_sources_and_verdicts_are_records_too() -> None:
    scored = from_json(Scored, FULL, "f:1")
    assert scored.source == (Source(id="p0", sample=3),)
    assert scored.verdict == Verdict(status="timeout", verifier="math")
