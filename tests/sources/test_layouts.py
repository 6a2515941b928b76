"""Every layout, on one row of it: what becomes the prompt, what the gold answer, what is carried."""

from typing import Any

import orjson
import pytest

from sparkcli.errors import InputError, UsageError
from sparkcli.sources.layouts import adorned, detect, prompt_of

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 1 + 1?"}]

ROWS: list[tuple[str, dict[str, Any], Any, str | None]] = [
    ("gsm8k", {"question": "Q?", "answer": "500 + 507 = 1007\n#### 1,007"}, "Q?", "1007"),
    ("trl", {"prompt": "Q?", "solution": r"\frac{1}{2}"}, "Q?", r"\frac{1}{2}"),
    ("trl", {"prompt": MESSAGES, "ground_truth": 2}, MESSAGES, "2"),
    ("trl", {"prompt": "Q?", "solution": "First.\nThen \\boxed{3}."}, "Q?", "3"),
    ("verl", {"data_source": "x", "prompt": MESSAGES, "extra_info": {"index": 4},
              "reward_model": {"style": "rule", "ground_truth": "2"}}, MESSAGES, "2"),
    ("openrlhf", {"input": "Q?", "label": "2"}, "Q?", "2"),
    ("openrlhf", {"prompt": "Q?", "label": "2"}, "Q?", "2"),
    ("openrlhf", {"input": "Q?", "answer": "2"}, "Q?", "2"),
    ("spark", {"message": orjson.dumps(MESSAGES).decode(), "answer": "2"}, MESSAGES, "2"),
    ("question", {"problem": "Q?", "solution": "so \\boxed{3}", "level": 2}, "Q?", "3"),
    ("question", {"problem": "P?", "question": "Q?", "answer": 27.0}, "Q?", "27"),
    ("question", {"question": "Q?", "final_answer": ["$1$", "$-1$"]}, "Q?", "1, -1"),
    ("question", {"question": "Q?", "ground_truth": "It is so.\nA: 18"}, "Q?", "18"),
    ("question", {"question": "Q?", "answer": None}, "Q?", None),
    ("sparkcli", {"id": "a", "prompt": "Q?", "answer": "2", "verifier": "number", "mine": 1}, "Q?", "2"),
]


@pytest.mark.parametrize(("name", "row", "prompt", "answer"), ROWS)
def test_layouts(name: str, row: dict[str, Any], prompt: Any, answer: str | None):
    layout = detect(row, {}, "f:1")
    made = prompt_of(row, layout, "f:1")
    assert (layout.name, made.prompt, made.answer) == (name, prompt, answer)


@pytest.mark.parametrize(("first", "row", "answer"), [
    ({"question": "Q?"}, {"question": "Q?", "answer": 5}, "5"),
    ({"prompt": "Q?"}, {"prompt": "Q?", "ground_truth": "5"}, "5"),
    ({"prompt": "Q?"}, {"prompt": "Q?", "reward_model": {"ground_truth": "5"}}, "5"),
    ({"messages": MESSAGES}, {"messages": MESSAGES, "answer": "5"}, "5"),
    ({"question": "Q?"}, {"question": "Q?"}, None),
    ({"prompt": "Q?", "instruction_id_list": [], "kwargs": []},
     {"prompt": "Q?", "instruction_id_list": [], "kwargs": [], "answer": "5"}, None),
])
def test_a_gold_answer_that_the_first_row_lacks(first: dict[str, Any], row: dict[str, Any], answer: str | None):
    heard: list[str] = []
    made = prompt_of(row, detect(first, {}, "f:1"), "f:2", tell=heard.append)
    assert made.answer == answer
    assert ("which the first row lacks" in "".join(heard)) == bool(answer)


@pytest.mark.parametrize("column", ["options", "choices"])
@pytest.mark.parametrize("answer", ["B", "12 kg"])
def test_rows_with_options_are_verified_as_a_choice_of_them(column: str, answer: str):
    row = {"question": "How heavy?", column: ["8 kg", "12 kg"], "answer": answer}
    made = prompt_of(row, detect(row, {}, "f:1"), "f:1")
    assert made.verifier == {"name": "choice", "options": ["8 kg", "12 kg"]}
    assert (made.answer, made.extra[column]) == (answer, ["8 kg", "12 kg"])


@pytest.mark.parametrize(("answer", "expected"), [(0, "A"), (1, "B"), (2, "2"), (True, "True"), ("1", "1")])
def test_a_whole_number_is_the_place_of_an_option(answer: Any, expected: str):
    """Also where another option is that number: texts would be chosen by a text."""
    row, told = {"question": "How many?", "choices": ["1", "0"], "answer": answer}, []
    made = prompt_of(row, detect(row, {}, "f:1"), "f:1", tell=told.append)
    assert made.answer == expected
    is_place = expected in "AB"
    assert told == ["an answer that is a whole number is the place of an option, counted from 0"] * is_place
    assert made.extra.get("row_answer", "1") == answer


@pytest.mark.parametrize("options", [[], None, ["one"], [1, 2], "[]", "any of them"])
def test_rows_without_texts_to_choose_from_have_the_usual_verifier(options: Any):
    row = {"question": "How heavy?", "options": options, "answer": "12"}
    assert prompt_of(row, detect(row, {}, "f:1"), "f:1").verifier is None


def test_rows_of_ifeval_bring_their_verifier():
    row = {"key": 1001, "prompt": "Write an itinerary without commas, in at least 300 words.",
           "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
           "kwargs": [{"num_words": None, "relation": None}, {"num_words": 300, "relation": "at least"}]}
    layout = detect(row, {}, "f:1")
    made = prompt_of(row, layout, "f:1", number_prefix="ifeval")
    assert str(layout) == "ifeval, question=prompt, id=key"
    assert (made.id, made.answer, made.extra) == ("ifeval-1001", None, {})
    assert made.verifier == {
        "name": "instruction", "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
        "kwargs": [{}, {"num_words": 300, "relation": "at least"}]}


def test_a_layout_says_what_it_took():
    row = {"idx": 3, "problem": "Q?", "answer": "2", "image": "a.png"}
    assert str(detect(row, {}, "f:1")) == "question, question=problem, answer=answer, id=idx, images=image"


def test_bytes_that_are_not_the_images_are_left_out_and_told():
    row, told = {"question": "Q?", "answer": "2", "thumb": {"bytes": b"x"}, "size": 3}, []
    made = prompt_of(row, detect(row, {}, "f:1"), "f:1", tell=told.append)
    assert made.extra == {"size": 3}
    assert told == ["column thumb holds bytes and is left out; if it has the images: --map images=thumb"]


def test_the_user_may_name_columns():
    row = {"text": {"en": "Q?"}, "key": 2, "answer": "not this"}
    layout = detect(row, {"question": "text.en", "answer": "key"}, "f:1")
    made = prompt_of(row, layout, "f:1")
    assert (layout.name, made.prompt, made.answer) == ("mapped", "Q?", "2")
    assert made.extra == {"row_text": {"en": "Q?"}, "row_key": 2, "row_answer": "not this"}


def test_the_user_may_correct_a_known_layout():
    row = {"question": "Q?", "answer": "wrong column", "gt": "2"}
    made = prompt_of(row, detect(row, {"answer": "gt"}, "f:1"), "f:1")
    assert (made.prompt, made.answer) == ("Q?", "2")


def test_other_columns_are_carried_and_reserved_names_are_kept_apart():
    row = {"question": "Q?", "answer": "1 + 1\n#### 2", "level": 3, "source": "a book", "error": None}
    made = prompt_of(row, detect(row, {}, "f:1"), "f:1")
    assert made.extra == {"row_answer": "1 + 1\n#### 2", "level": 3, "row_source": "a book", "row_error": None}
    assert (made.source, made.task) == ((), "solve")


@pytest.mark.parametrize(("row", "prefix", "expected"), [
    ({"id": 7}, "amc", "amc-7"), ({"idx": 0}, "amc", "amc-0"), ({"id": "7"}, "amc", "amc-7"), ({"id": 7}, "", "7"),
    ({"unique_id": "test/algebra/1.json"}, "amc", "test/algebra/1.json")])
def test_ids_are_the_rows_own(row: dict[str, Any], prefix: str, expected: str):
    row |= {"question": "Q?", "answer": "2"}
    assert prompt_of(row, detect(row, {}, "f:1"), "f:1", number_prefix=prefix).id == expected


def test_an_id_is_made_from_the_content():
    rows = [{"question": "Q?", "answer": "2", "level": level} for level in (1, 2)]
    first, second = (prompt_of(row, detect(row, {}, "f:1"), "f:1") for row in rows)
    assert first.id == second.id != ""


@pytest.mark.parametrize(("image", "expected"), [
    ("a.png", ("a.png",)), (["a.png", "https://x/b.png"], ("a.png", "https://x/b.png")), (None, ()), ("", ()),
    ({"path": "a.png", "bytes": None}, ("a.png",)), ("data:image/png;base64,AA==", ("data:image/png;base64,AA==",))])
def test_images(image: object, expected: tuple[str, ...]):
    row = {"question": "Q?", "answer": "2", "image": image}
    assert prompt_of(row, detect(row, {}, "f:1"), "f:1").images == expected


def test_an_instruction_goes_after_the_question():
    row = {"prompt": MESSAGES, "solution": "2"}
    made = adorned(prompt_of(row, detect(row, {}, "f:1"), "f:1"), r"Use \boxed{}.", "math")
    assert isinstance(made.prompt, list)
    assert made.prompt[-1]["content"] == "What is 1 + 1?\n\nUse \\boxed{}."
    assert (made.question, made.verifier) == ("What is 1 + 1?", "math")
    assert MESSAGES[-1]["content"] == "What is 1 + 1?"


def test_an_instruction_after_parts():
    parts = [{"type": "image_url", "image_url": {"url": "a.png"}}, {"type": "text", "text": "How many?"}]
    row = {"prompt": [{"role": "user", "content": parts}], "solution": "2"}
    made = adorned(prompt_of(row, detect(row, {}, "f:1"), "f:1"), "Be brief.", None)
    assert isinstance(made.prompt, list)
    assert made.prompt[0]["content"] == [*parts, {"type": "text", "text": "\n\nBe brief."}]
    assert made.question == "How many?"


@pytest.mark.parametrize(("first", "row", "message"), [
    ({"q": "Q?", "a": "2"}, {}, "f:1: unknown layout; columns: q, a; say which hold question and answer: "
                                "--map question=COLUMN --map answer=COLUMN"),
    ({"question": "Q?", "answer": "2"}, {"question": "Q?"}, "f:2: answer: expected as in the first row, missing"),
    ({"question": "Q?", "answer": "2"}, {"question": None, "answer": "2"}, "f:2: question: expected a question"),
    ({"question": "Q?", "answer": "2"}, {"question": "Q?", "answer": {"x": 1}}, "f:2: answer: expected an answer"),
    ({"problem": "Q?", "solution": "2"}, {"problem": "Q?", "solution": "1.\n2."}, "f:2: solution: several lines"),
    ({"question": "Q?", "image": "a"}, {"question": "Q?", "image": 7}, "f:2: image: expected paths, URLs"),
])
def test_what_is_wrong_is_named(first: dict[str, Any], row: dict[str, Any], message: str):
    with pytest.raises(InputError) as error:
        prompt_of(row, detect(first, {}, "f:1"), "f:2")
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(("mapping", "message"), [
    ({"question": "qestion"}, "--map question=qestion: no such column; did you mean 'question'?"),
    ({"anwser": "question"}, "--map anwser=question: unknown field; did you mean 'answer'?")])
def test_a_mapping_that_does_not_fit(mapping: dict[str, str], message: str):
    with pytest.raises(UsageError) as error:
        detect({"question": "Q?"}, mapping, "f:1")
    assert str(error.value) == message


QUESTION = {"role": "user", "content": "What is 1 + 1?"}


def reply(text: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize(("row", "mapping", "answer"), [
    ({"messages": [QUESTION, reply("1 + 1 is \\boxed{2}.")]}, {}, "2"),
    ({"messages": [QUESTION, reply("Adding.\n#### 2")]}, {}, "2"),
    ({"messages": [QUESTION, reply("2")]}, {}, None),
    ({"messages": [QUESTION, reply("2")]}, {"question": "messages", "answer": "messages"}, "2"),
    ({"messages": [QUESTION, reply([{"type": "text", "text": "So \\boxed{2}"}])]}, {}, "2"),
    ({"messages": [QUESTION, reply("I say \\boxed{3}.")], "answer": 2}, {}, "2"),
    ({"prompt": [QUESTION, reply("\\boxed{3}")], "solution": "2"}, {}, "2"),
    ({"prompt": [QUESTION, reply("\\boxed{3}")], "reward_model": {"ground_truth": "2"}}, {}, "2"),
    ({"message": orjson.dumps([QUESTION, reply("\\boxed{3}")]).decode(), "answer": "2"}, {}, "2"),
    ({"id": "a", "prompt": [QUESTION, reply("\\boxed{3}")], "answer": "2"}, {}, "2"),
    ({"conversations": [{"from": "human", "value": QUESTION["content"]}, {"from": "gpt", "value": "\\boxed{2}"}]}, {},
     "2"),
])
def test_a_reply_at_the_end_of_a_chat_is_the_reference(row: dict[str, Any], mapping: dict[str, str],
                                                       answer: str | None) -> None:
    told: list[str] = []
    layout = detect(row, mapping, "f:1")
    made = prompt_of(row, layout, "f:1", tell=told.append)
    assert (made.prompt, made.answer) == ([QUESTION], answer)
    assert told == ["the assistant's last message is the reference reply and left out of the prompt "
                    "(--keep-reply keeps it)"]
    column = layout.question or "prompt"
    assert made.extra[f"row_{column}"] == row[column]
    kept = prompt_of(row, layout, "f:1", keep_reply=True)
    assert (len(kept.prompt), kept.prompt[-1]["role"]) == (2, "assistant")  # type: ignore[index]


def test_earlier_replies_stay():
    chat = [QUESTION, reply("2"), {"role": "user", "content": "And + 1?"}]
    made = prompt_of({"messages": chat, "answer": "3"}, detect({"messages": chat, "answer": "3"}, {}, "f:1"), "f:1")
    assert made.prompt == chat
    with pytest.raises(InputError, match="f:1: messages: expected a question, found the assistant's reply alone"):
        prompt_of({"messages": [reply("2")], "answer": 1}, detect({"messages": chat, "answer": 1}, {}, "f:1"), "f:1")
