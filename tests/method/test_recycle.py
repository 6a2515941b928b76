"""The rules of recycling, one by one on groups made by hand, and what holds for all groups."""

import dataclasses
import random
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkcli.config import RecycleConfig
from sparkcli.files.templates import read_templates
from sparkcli.method.answers import boxed
from sparkcli.method.judging import read_label
from sparkcli.method.messages import chat_of
from sparkcli.method.recycle import SKIPPED, RecycleReport, recycle
from sparkcli.method.templates import Templates
from sparkcli.records import Prompt, Scored, Source, Status, Verdict, dumps, from_json

TEMPLATES = Templates.from_tables(read_templates())
REWARDS: dict[str, float | None] = {"correct": 1.0, "wrong": 0.0, "no_answer": 0.0}


def group(id: str, *outcomes: tuple[Status, str | None], **fields: Any) -> list[Scored]:
    """Samples of one prompt from (status, extracted answer)."""
    fields = {"prompt": f"Question {id}?", "answer": "7", "verifier": "math", **fields}
    return [Scored(id=id, sample=number, samples=len(outcomes), completion=f"thought {number}: {answer}",
                   verdict=Verdict(status=status, extracted=answer, verifier="math"),
                   reward=REWARDS.get(status), **fields)
            for number, (status, answer) in enumerate(outcomes)]


RIGHT: tuple[Status, str | None] = ("correct", "7")
WRONG: tuple[Status, str | None] = ("wrong", "8")
SILENT: tuple[Status, str | None] = ("no_answer", None)
UNKNOWN: tuple[Status, str | None] = ("timeout", "9")


def made(*groups: Sequence[Scored], **settings: Any) -> list[Prompt]:
    return recycle(groups, RecycleConfig(**settings), TEMPLATES)[0]


def report(*groups: Sequence[Scored], **settings: Any) -> RecycleReport:
    return recycle(groups, RecycleConfig(**settings), TEMPLATES)[1]


def skipped(*groups: Sequence[Scored], **settings: Any) -> dict[str, int]:
    return {reason: count for reason, count in report(*groups, **settings).skipped.items() if count}


def many(number: int, *outcomes: tuple[Status, str | None]) -> list[list[Scored]]:
    return [group(f"p{i}", *outcomes) for i in range(number)]


def test_all_right_gives_one_pointwise_prompt_with_the_label_for_right() -> None:
    [prompt] = made(group("p", RIGHT, RIGHT))
    assert prompt.task == "judge" and prompt.answer in ("Yes", "A") and prompt.verifier == "label"
    assert "Question p?" in str(prompt.prompt) and "7" in str(prompt.prompt)
    assert "thought" not in str(prompt.prompt)  # the judge sees the final answer alone


def test_all_wrong_gives_a_pointwise_prompt_and_a_reflection() -> None:
    judge, reflect = made(group("p", WRONG, WRONG))
    assert judge.task == "judge" and judge.answer in ("No", "B")
    assert reflect.task == "reflect" and reflect.answer == "7" and reflect.verifier == "math"


def test_a_mixed_group_becomes_a_pair_with_the_letter_of_the_right_answer() -> None:
    prompts = [prompt for g in many(40, RIGHT, WRONG) for prompt in made(g, pair_share=1.0)]
    pairs = [prompt for prompt in prompts if prompt.task == "compare"]
    assert len(pairs) == 40 and {pair.answer for pair in pairs} == {"A", "B"}
    for pair in pairs:
        text = str(pair.prompt).replace(str(pair.question), "")
        assert (text.index("7") < text.index("8")) == (pair.answer == "A")
        right, wrong = Source(id=pair.source[0].id, sample=0), Source(id=pair.source[0].id, sample=1)
        assert pair.source == ((right, wrong) if pair.answer == "A" else (wrong, right))


def test_the_share_of_pairs_among_mixed_groups_is_a_setting() -> None:
    groups = many(400, RIGHT, WRONG, WRONG)
    counts = report(*groups, pair_share=0.7).prompts
    assert counts["compare"] == pytest.approx(280, abs=40) and counts["judge"] + counts["compare"] == 400
    assert report(*groups, pair_share=0.0).prompts["compare"] == 0


def test_of_a_mixed_group_right_and_wrong_are_judged_with_equal_odds_whatever_their_numbers() -> None:
    found = report(*many(400, RIGHT, *[WRONG] * 7), pair_share=0.0)
    assert found.shown_right == pytest.approx(200, abs=40) and found.shown_right + found.shown_wrong == 400


def test_a_reflection_shows_the_whole_attempt_or_only_its_answer() -> None:
    groups = many(100, ("wrong", "8"))
    shows_cot = {attempt: sum("thought 0" in str(prompt.prompt) for prompt in made(*groups, attempt=attempt)
                              if prompt.task == "reflect") for attempt in ("cot", "answer", "both")}
    assert shows_cot["cot"] == 100 and shows_cot["answer"] == 0 and 35 <= shows_cot["both"] <= 65


def test_a_judge_may_be_shown_whole_solutions() -> None:
    for prompt in made(group("p", RIGHT, WRONG), shown="solution"):
        if prompt.task != "reflect":
            assert "thought" in str(prompt.prompt)


def test_unknown_verdicts_are_never_used() -> None:
    prompts = made(*many(30, UNKNOWN, WRONG, UNKNOWN, RIGHT))
    assert {source.sample for prompt in prompts for source in prompt.source} == {1, 3}
    assert report(group("p", UNKNOWN, WRONG)).unknown_samples == 1
    assert skipped(group("p", UNKNOWN, UNKNOWN)) == {"no_known_verdict": 1}


def test_a_null_reward_is_unknown_whatever_the_verdict_says() -> None:
    [sample] = group("p", RIGHT)
    assert skipped([dataclasses.replace(sample, reward=None)]) == {"no_known_verdict": 1}


def test_a_group_of_known_right_and_unknown_counts_as_all_right() -> None:
    assert [prompt.task for prompt in made(group("p", RIGHT, UNKNOWN))] == ["judge"]


@pytest.mark.parametrize(("samples", "settings", "reasons"), [
    ([SILENT], {"attempt": "cot"}, {"judge_no_answer": 1}),
    ([SILENT], {"attempt": "answer"}, {"judge_no_answer": 1, "reflect_no_attempt": 1}),
    ([RIGHT, SILENT], {"attempt": "cot", "pair_share": 1.0}, {"pair_no_answer": 1}),
    ([RIGHT, ("wrong", "$7$")], {"pair_share": 1.0}, {"pair_same_answer": 1}),
    ([], {}, {"no_known_verdict": 1}),
])
def test_what_is_not_made_is_counted_by_reason(samples: list[Any], settings: dict[str, Any],
                                               reasons: dict[str, int]) -> None:
    assert skipped(group("p", *samples), **settings) == reasons


def test_a_pair_is_found_where_only_one_of_the_wrong_answers_differs() -> None:
    pairs = [prompt for g in many(20, RIGHT, ("wrong", "7"), ("wrong", "5"), SILENT)
             for prompt in made(g, pair_share=1.0) if prompt.task == "compare"]
    assert len(pairs) == 20
    assert all({source.sample for source in pair.source} == {0, 2} for pair in pairs)


def test_recycled_prompts_are_not_recycled_again() -> None:
    assert skipped(group("p", RIGHT, WRONG, task="judge")) == {"not_first_generation": 1}


def test_without_a_gold_answer_there_is_no_reflection() -> None:
    assert skipped(group("p", WRONG, answer=None)) == {"reflect_no_gold": 1}


def test_an_answer_that_the_verdict_does_not_name_is_read_from_the_completion() -> None:
    [sample] = group("p", ("correct", None))
    [prompt] = made([dataclasses.replace(sample, completion=r"so \boxed{\frac{1}{2}}")])
    assert r"\frac{1}{2}" in str(prompt.prompt)


def test_limits_draw_at_random_and_keep_the_order() -> None:
    groups = many(60, WRONG)
    everything = [prompt.id for prompt in made(*groups)]
    some = made(*groups, max_judge=5, max_reflect=7)
    ids = [prompt.id for prompt in some]
    assert sorted(ids, key=everything.index) == ids and ids != everything[:12]
    found = report(*groups, max_judge=5, max_reflect=7)
    assert found.prompts == {"judge": 5, "compare": 0, "reflect": 7}
    assert found.skipped["max_judge"] == 55 and found.skipped["max_reflect"] == 53
    assert made(*groups, max_judge=0, max_reflect=0) == []


def test_balance_drops_what_there_is_more_of() -> None:
    groups = [*many(30, RIGHT), *[group(f"w{i}", WRONG) for i in range(10)],
              *[group(f"m{i}", RIGHT, WRONG) for i in range(10)]]
    free, held = report(*groups, pair_share=1.0), report(*groups, pair_share=1.0, balance=True)
    assert (free.shown_right, free.shown_wrong) == (30, 10)
    assert (held.shown_right, held.shown_wrong) == (10, 10)
    assert held.prompts["compare"] == 10 and held.skipped["balance"] == 20
    limited = report(*groups, pair_share=1.0, balance=True, max_judge=11)
    assert limited.shown_right == limited.shown_wrong
    assert limited.prompts["judge"] + limited.prompts["compare"] in (10, 11)


def test_balance_without_a_counterpart_leaves_no_pointwise_prompt() -> None:
    assert made(*many(5, RIGHT), balance=True) == []


def test_images_and_foreign_fields_go_along_and_record_fields_do_not() -> None:
    samples = group("p", WRONG, images=("a.png",), extra={"subject": "geometry", "judgement": 1})
    for prompt in made(samples):
        assert prompt.images == ("a.png",) and prompt.extra == {"subject": "geometry"}
        assert from_json(Prompt, orjson.loads(dumps(prompt)), "test:1") == prompt


def test_a_conversation_keeps_its_system_message_and_its_images_before_the_text() -> None:
    image = {"type": "image_url", "image_url": {"url": "a.png"}}
    messages = [{"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "How many?"}, image]}]
    for prompt in made(group("p", WRONG, prompt=messages)):
        assert isinstance(prompt.prompt, list)
        system, user = prompt.prompt
        assert system == messages[0] and user["role"] == "user"
        assert user["content"][0] == image and "How many?" in user["content"][1]["text"]


def test_images_between_words_are_shown_first_and_mentioned_in_the_question() -> None:
    content = [{"type": "text", "text": "Which is larger, "}, {"type": "image"}, {"type": "text", "text": " or "},
               {"type": "image"}, {"type": "text", "text": "?"}]
    samples = group("p", WRONG, prompt=[{"role": "user", "content": content}], images=("a.png", "b.png"))
    for prompt in made(samples):
        chat = chat_of(prompt)
        assert chat.images == ["a.png", "b.png"]
        [message] = chat.messages
        assert [part["type"] for part in message["content"]] == ["image", "image", "text"]
        assert "Which is larger, [image 1] or [image 2]?" in message["content"][2]["text"]


def test_a_conversation_without_images_stays_text() -> None:
    for prompt in made(group("p", WRONG, prompt=[{"role": "user", "content": "How many?"}])):
        [message] = prompt.prompt
        assert isinstance(message, dict) and message["role"] == "user"
        assert isinstance(message["content"], str) and "How many?" in message["content"]


EARLIER = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Let x be 3."},
           {"role": "assistant", "content": "Yes."}]
ASKED = {"role": "user", "content": "What is 2x + 1?"}


@pytest.mark.parametrize("begun", [[], [{"role": "assistant", "content": "It is"}]])
def test_a_conversation_keeps_its_earlier_turns(begun: list[dict[str, str]]) -> None:
    """The begin of the reply is in the completion, and is no turn of the recycled prompt."""
    prompts = made(group("p", RIGHT, WRONG, prompt=[*EARLIER, ASKED, *begun]))
    assert {prompt.task for prompt in prompts} & {"judge", "compare"} and prompts[-1].task == "reflect"
    for prompt in prompts:
        *earlier, asked = prompt.prompt
        assert earlier == EARLIER
        assert isinstance(asked, dict) and asked["role"] == "user" and "What is 2x + 1?" in asked["content"]


def test_images_of_earlier_turns_stay_there() -> None:
    image = {"type": "image"}
    turns = [{"role": "user", "content": [image, {"type": "text", "text": "This is a."}]},
             {"role": "assistant", "content": "Yes."},
             {"role": "user", "content": [{"type": "text", "text": "And is this smaller?"}, image]}]
    for prompt in made(group("p", WRONG, prompt=turns, images=("a.png", "b.png"))):
        chat = chat_of(prompt)
        assert chat.images == ["a.png", "b.png"] and [message["role"] for message in chat.messages] == [
            "user", "assistant", "user"]
        assert [part["type"] for part in chat.messages[2]["content"]] == ["image", "text"]


def test_what_tools_said_stays_before_the_question_about_the_reply() -> None:
    calls = [{"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "add"}}]},
             {"role": "tool", "content": "7"}]
    tools = ({"type": "function", "function": {"name": "add"}},)
    for prompt in made(group("p", WRONG, prompt=[ASKED, *calls], tools=tools,
                             chat_template_kwargs={"enable_thinking": False})):
        *earlier, asked = prompt.prompt
        assert earlier == [ASKED, *calls] and isinstance(asked, dict) and "What is 2x + 1?" in asked["content"]
        assert (prompt.tools, prompt.chat_template_kwargs) == (tools, {"enable_thinking": False})


def test_the_bare_question_is_quoted_where_the_prompt_wraps_it() -> None:
    for prompt in made(group("p", WRONG, prompt="How many? Use a box.", question="How many?")):
        assert "Use a box" not in str(prompt.prompt) and prompt.question == "How many?"


def test_braces_and_placeholders_in_answers_are_only_text() -> None:
    [prompt] = made(group("p", ("correct", r"{{question}} \{1\}")))
    assert r"{{question}} \{1\}" in str(prompt.prompt)


def test_wordings_with_other_labels_tell_the_verifier() -> None:
    tables = {**read_templates(), "pointwise": [{"name": "ja", "labels": ["Ja", "Nein"],
                                                 "text": r"{{question}} {{answer}} \boxed{Ja}"}]}
    [prompt] = recycle([group("p", RIGHT)], RecycleConfig(), Templates.from_tables(tables))[0]
    assert prompt.answer == "Ja" and prompt.verifier == {"name": "label", "labels": ["Ja", "Nein"]}


def test_the_report_says_everything_in_one_line_and_as_values() -> None:
    found = report(group("p", RIGHT), group("q", WRONG, WRONG), group("r", UNKNOWN))
    summary = found.summary()
    assert summary.startswith("recycled 3 groups: 2 judge (right 1, wrong 1), 0 compare, 1 reflect; labels: ")
    assert summary.endswith("; skipped: no_known_verdict 1") and "\n" not in summary
    assert found.to_json()["prompts"] == {"judge": 2, "compare": 0, "reflect": 1}
    assert set(found.skipped) == set(SKIPPED) and sum(found.labels.values()) == 2
    assert report().summary().endswith("labels: none; skipped: none")


outcomes = st.sampled_from([RIGHT, WRONG, ("wrong", "6"), ("wrong", "7"), SILENT, UNKNOWN])
ragged_groups = st.lists(st.lists(outcomes, min_size=1, max_size=9), max_size=12).map(
    lambda rows: [group(f"p{i}", *row) for i, row in enumerate(rows)])
seeds = st.integers(0, 3)


@given(ragged_groups, seeds, st.randoms(use_true_random=False))
def test_order_and_sharding_change_nothing(groups: list[list[Scored]], seed: int,
                                           shuffler: random.Random) -> None:
    prompts = made(*groups, seed=seed)
    shuffled = shuffler.sample(groups, len(groups))
    assert {p.id: p for p in made(*shuffled, seed=seed)} == {p.id: p for p in prompts}
    assert [p for g in groups for p in made(g, seed=seed)] == prompts
    assert made(*[g[::-1] for g in groups], seed=seed) == prompts


@given(ragged_groups, seeds, st.booleans(), st.randoms(use_true_random=False))
def test_limits_do_not_depend_on_the_order(groups: list[list[Scored]], seed: int, balance: bool,
                                           shuffler: random.Random) -> None:
    settings: dict[str, Any] = {"seed": seed, "balance": balance, "max_judge": 4, "max_reflect": 2}
    prompts, found = made(*groups, **settings), report(*groups, **settings)
    shuffled = shuffler.sample(groups, len(groups))
    assert {p.id for p in made(*shuffled, **settings)} == {p.id for p in prompts}
    assert len(prompts) <= 6 and (not balance or found.shown_right == found.shown_wrong)


@given(ragged_groups, seeds)
def test_every_label_verifies_and_every_id_is_unique(groups: list[list[Scored]], seed: int) -> None:
    prompts = made(*groups, seed=seed)
    assert len({prompt.id for prompt in prompts}) == len(prompts)
    for prompt in prompts:
        assert prompt.answer is not None and r"\boxed{" in str(prompt.prompt)
        reply = rf"Some thought. \boxed{{{prompt.answer}}}"
        labels = ("A", "B") if prompt.answer in ("A", "B") else ("Yes", "No")
        assert (boxed(reply) if prompt.task == "reflect" else read_label(reply, labels)) == prompt.answer


@given(ragged_groups, seeds)
def test_every_group_is_accounted_for(groups: list[list[Scored]], seed: int) -> None:
    found = report(*groups, seed=seed)
    missing = {reason: count for reason, count in found.skipped.items() if not reason.startswith("reflect")}
    assert found.prompts["judge"] + found.prompts["compare"] + sum(missing.values()) == len(groups)
    with_wrong = sum(any(s.reward == 0.0 for s in g) for g in groups)
    assert found.prompts["reflect"] + found.skipped["reflect_no_attempt"] == with_wrong
