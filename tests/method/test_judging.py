"""The model as judge: what is asked, how replies are read, how votes are counted."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkcli.config import JudgeConfig
from sparkcli.files.templates import read_templates
from sparkcli.method import judging
from sparkcli.method.judging import judge, read_label
from sparkcli.method.templates import Templates
from sparkcli.records import Judged, Prompt, Rollout, Scored, Verdict, extend

TEMPLATES = Templates.from_tables(read_templates())


@pytest.mark.parametrize(("completion", "label"), [
    (r"\boxed{Yes}", "Yes"),
    (r"\boxed{yes}", "Yes"),
    (r"\boxed{NO.}", "No"),
    (r"\boxed{\text{No}}", "No"),
    (r"\boxed{\textbf{ Yes! }}", "Yes"),
    (r"\boxed{**No**}", "No"),
    (r"First \boxed{Yes}, but on reflection \boxed{No}", "No"),
    (r"\boxed{Yes}. Cut off: \boxed{N", "Yes"),
    (r"\boxed{Yes or No}", None),
    (r"\boxed{Not}", None),
    (r"\boxed{42}", None),
    (r"\boxed{\text{}}", None),
    ("Yes", None),
    ("", None),
])
def test_a_label_is_read_from_the_last_box(completion: str, label: str | None) -> None:
    assert read_label(completion, ("Yes", "No")) == label


@given(st.text(max_size=40), st.sampled_from(["Yes", "No", "A", "B"]))
def test_whatever_is_said_before_a_boxed_label_reads_back(before: str, label: str) -> None:
    labels = ("Yes", "No") if label in ("Yes", "No") else ("A", "B")
    assert read_label(f"{before} \\boxed{{{label}}}", labels) == label


def group(id: str, *answers: str | None) -> list[Rollout]:
    return [Rollout(id=id, prompt=f"Question {id}?", sample=number, samples=len(answers),
                    completion="no idea" if answer is None else rf"thought {number}: \boxed{{{answer}}}")
            for number, answer in enumerate(answers)]


class Judge:
    """A sampler that replies with what `reply` says to a prompt's text, and remembers what it was asked."""

    def __init__(self, reply: Callable[[str], str]) -> None:
        self.reply = reply
        self.calls: list[list[Prompt]] = []

    @property
    def prompts(self) -> list[Prompt]:
        return [prompt for call in self.calls for prompt in call]

    def __call__(self, prompts: Sequence[Prompt]) -> Iterator[list[Rollout]]:
        self.calls.append(list(prompts))
        for prompt in prompts:
            yield [extend(prompt, Rollout, sample=0, samples=1, completion=self.reply(str(prompt.prompt)))]


def judged(judge_: Judge, *groups: Sequence[Rollout], **settings: Any) -> list[Judged]:
    return list(judge(groups, judge_, JudgeConfig(**settings), TEMPLATES))


def first_label(text: str) -> str:
    """What a wording calls its first label: Yes or A."""
    return "Yes" if r"\boxed{Yes}" in text else "A"


def second_label(text: str) -> str:
    return "No" if r"\boxed{Yes}" in text else "B"


def knows(right: str) -> Judge:
    """A judge who knows the right answer (no other may contain it)."""
    def reply(text: str) -> str:
        if r"\boxed{B}" in text and "7" in text and "8" in text:
            return r"\boxed{A}" if text.index(right) < text.index("8" if right == "7" else "7") else r"\boxed{B}"
        return rf"\boxed{{{first_label(text) if right in text else second_label(text)}}}"
    return Judge(reply)


def test_pointwise_scores_each_answer_by_its_votes() -> None:
    right, wrong = judged(knows("7"), group("p", "7", "8"), votes=3)
    assert (right.judgement.score, right.judgement.label, right.judgement.votes) == (1.0, "Yes", 3)
    assert (wrong.judgement.score, wrong.judgement.label, wrong.judgement.asked) == (0.0, "No", 3)
    assert right.judgement.critique is not None and right.completion.endswith(r"\boxed{7}")


def test_equal_answers_are_judged_once_and_share_the_verdict() -> None:
    model = knows("7")
    results = judged(model, group("p", "7", "$7$", "8"), votes=2)
    assert len(model.prompts) == 4
    assert results[0].judgement == results[1].judgement != results[2].judgement


def test_votes_use_different_wordings_and_ids_are_unique() -> None:
    model = knows("7")
    judged(model, group("p", "7"), group("q", "7"), votes=20)  # more votes than wordings
    assert len({prompt.id for prompt in model.prompts}) == 40
    assert len({str(prompt.prompt) for prompt in model.prompts if prompt.id.startswith("p/")}) == 16


def test_the_judge_sees_the_answer_or_the_whole_solution() -> None:
    for part, seen in (("answer", False), ("solution", True)):
        model = knows("7")
        judged(model, group("p", "7"), shown=part)
        assert all(("thought" in str(prompt.prompt)) == seen for prompt in model.prompts)
        assert all(prompt.task == "judge" and prompt.answer is None for prompt in model.prompts)


def test_votes_that_cannot_be_read_count_neither_way() -> None:
    replies = iter(["no box", r"\boxed{maybe}", r"\boxed{Yes} \boxed{A}", "", ""])
    model = Judge(lambda text: rf"\boxed{{{first_label(text)}}}" if "Yes" in next(replies) else "hm")
    [result] = judged(model, group("p", "7"), votes=5)
    assert (result.judgement.score, result.judgement.votes, result.judgement.asked) == (1.0, 1, 5)


def test_without_a_readable_vote_there_is_no_verdict_which_is_not_a_no() -> None:
    [result] = judged(Judge(lambda text: "I cannot tell"), group("p", "7"), votes=2)
    assert (result.judgement.status, result.judgement.score, result.judgement.label) == ("no_verdict", None, None)
    assert (result.judgement.asked, result.judgement.reason) == (2, "unreadable")


def test_a_tie_has_a_score_and_no_label() -> None:
    turn = iter(range(2))
    model = Judge(lambda text: rf"\boxed{{{first_label(text) if next(turn) else second_label(text)}}}")
    [result] = judged(model, group("p", "7"), votes=2)
    assert (result.judgement.status, result.judgement.score, result.judgement.label) == ("ok", 0.5, None)


def test_what_gives_no_answer_is_not_asked_about() -> None:
    model = knows("7")
    failed = Rollout(id="q", prompt="?", sample=0, samples=1, completion="", finish_reason="error", error="too long")
    results = judged(model, group("p", None), [failed])
    assert [(r.judgement.status, r.judgement.asked) for r in results] == [("no_verdict", 0)] * 2
    assert [r.judgement.reason for r in results] == ["no_answer", "not_sampled"]
    assert model.calls == []


def test_questions_that_could_not_be_sampled_are_no_unreadable_votes() -> None:
    def no_room(prompts: Sequence[Prompt]) -> list[list[Rollout]]:
        return [[extend(prompt, Rollout, sample=0, samples=1, completion="", finish_reason="error", error="too long")]
                for prompt in prompts]

    result, = judge([group("p", "7")], no_room, JudgeConfig(votes=2), TEMPLATES)
    assert (result.judgement.status, result.judgement.asked) == ("no_verdict", 2)
    assert result.judgement.reason == "not_asked"


def test_the_verifiers_reading_of_an_answer_is_preferred() -> None:
    [rollout] = group("p", "7")
    scored = extend(rollout, Scored, verdict=Verdict(status="correct", extracted="13", verifier="math"), reward=1.0)
    model = knows("13")
    assert judged(model, [scored])[0].judgement.label == "Yes"


def test_pairwise_compares_every_two_different_answers_in_both_orders() -> None:
    model = knows("7")
    results = judged(model, group("p", "7", "8", "7"), mode="pairwise")
    assert len(model.prompts) == 2 and {prompt.task for prompt in model.prompts} == {"compare"}
    assert [result.judgement.score for result in results] == [1.0, 0.0, 1.0]
    assert all(result.judgement.votes == result.judgement.asked == 2 for result in results)
    assert all(result.judgement.label is None for result in results)


def test_with_swap_a_judge_who_always_says_a_decides_nothing() -> None:
    model = Judge(lambda text: r"\boxed{A}")
    assert {r.judgement.score for r in judged(model, group("p", "5", "6", "9"), mode="pairwise")} == {0.5}
    without = judged(model, group("p", "5", "6", "9"), mode="pairwise", swap=False)
    assert {r.judgement.asked for r in without} == {2}


def test_nothing_to_compare_is_no_verdict() -> None:
    for result in judged(knows("7"), group("p", "7", "7", None), group("q", None), mode="pairwise"):
        assert (result.judgement.status, result.judgement.score, result.judgement.asked) == ("no_verdict", None, 0)
        assert result.judgement.reason == ("no_answer" if "box" not in result.completion else "nothing_to_compare")


def test_whole_solutions_without_a_final_answer_can_be_compared() -> None:
    one, other = group("p", None, None)
    texts = [extend(one, Rollout, completion="a long reply: 7"), extend(other, Rollout, completion="a reply: 8")]
    results = judged(knows("7"), texts, mode="pairwise", shown="solution")
    assert [result.judgement.score for result in results] == [1.0, 0.0]


def test_many_groups_take_few_calls_and_stream_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "BALLOTS_PER_CALL", 10)
    model, read = knows("7"), []
    groups = (read.append(i) or group(f"p{i}", "7", "8") for i in range(100))  # type: ignore[func-returns-value]
    results = judge(groups, model, JudgeConfig(), TEMPLATES)
    assert next(results).id == "p0" and len(read) == 5
    assert [result.id for result in results][-1] == "p99"
    assert [len(call) for call in model.calls] == [10] * 20


def test_wordings_do_not_depend_on_what_else_is_judged() -> None:
    alone, together = knows("7"), knows("7")
    judged(alone, group("p", "7", "8"))
    judged(together, group("q", "8", "9"), group("p", "7", "8"))
    assert alone.prompts == together.prompts[2:]


def test_fields_of_the_input_are_carried() -> None:
    [rollout] = group("p", "7")
    [result] = judged(knows("7"), [extend(rollout, Rollout, extra={"subject": "x"}, answer="7")])
    assert result.extra == {"subject": "x"} and result.answer == "7"
