"""Self-reflection at test time, turn by turn, with a model that replies from a script."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from sparkcli.config import ReflectConfig
from sparkcli.files.templates import read_templates
from sparkcli.method.reflecting import reflect
from sparkcli.method.templates import Templates
from sparkcli.records import Prompt, Reflected, Rollout, dumps, extend

TEMPLATES = Templates.from_tables(read_templates())


def first(text: str, id: str = "p", **fields: Any) -> Rollout:
    return Rollout(id=id, prompt="What is 3 + 4?", answer="7", verifier="math", sample=0, samples=1, completion=text,
                   token_ids=(1, 2), logprobs=(-0.1, -0.2), **fields)


class Model:
    """Replies to judge prompts with `says(answer shown)` and to reflections with the next of `solutions`."""

    def __init__(self, says: Callable[[str], str], *solutions: str) -> None:
        self.says, self.solutions = says, list(solutions)
        self.calls: list[list[Prompt]] = []

    def __call__(self, prompts: Sequence[Prompt]) -> Iterator[list[Rollout]]:
        self.calls.append(list(prompts))
        for prompt in prompts:
            text = str(prompt.prompt).replace("3 + 4", "")
            completion = self.says(text) if prompt.task == "judge" else self.solutions.pop(0)
            yield [extend(prompt, Rollout, sample=0, samples=1, completion=completion, token_ids=(9,))]


def knows(text: str) -> str:
    return r"\boxed{Yes}" if "7" in text else r"\boxed{No}"


def never(text: str) -> str:
    return r"\boxed{No}"


def silent(text: str) -> str:
    return "hard to say"


def run(model: Model, *answers: Rollout, **settings: Any) -> list[Reflected]:
    return reflect(answers, model, ReflectConfig(**settings), TEMPLATES)


def kinds(result: Reflected) -> list[str]:
    return [turn.kind for turn in result.trace]


def test_an_accepted_answer_stands_after_one_judgement() -> None:
    [result] = run(Model(knows), first(r"\boxed{7}"))
    assert kinds(result) == ["answer", "judge"] and result.rounds == 0
    assert result.completion == r"\boxed{7}" and result.token_ids == (1, 2)
    assert [turn.extracted for turn in result.trace] == ["7", "Yes"]


def test_a_rejected_answer_is_solved_afresh_and_judged_again() -> None:
    model = Model(knows, r"now \boxed{7}")
    [result] = run(model, first(r"\boxed{8}"))
    assert kinds(result) == ["answer", "judge", "reflect", "judge"] and result.rounds == 1
    assert result.completion == r"now \boxed{7}" and result.token_ids == (9,) and result.logprobs is None
    [reflection] = model.calls[1]
    assert reflection.task == "reflect" and "8" in str(reflection.prompt)
    assert (result.id, result.prompt, result.answer, result.sample) == ("p", "What is 3 + 4?", "7", 0)
    assert b'"trace"' in dumps(result)


def test_the_previous_answer_is_what_the_next_reflection_shows() -> None:
    model = Model(never, r"\boxed{91}", r"\boxed{92}")
    [result] = run(model, first(r"long thought \boxed{90}"))
    shown = [str(call[0].prompt) for call in model.calls if call[0].task == "reflect"]
    assert "90" in shown[0] and "91" in shown[1] and "long thought" not in shown[0]
    assert kinds(result) == ["answer", "judge", "reflect", "judge", "reflect"]
    assert result.completion == r"\boxed{92}" and result.rounds == 2  # the last answer counts


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_rounds_are_limited(rounds: int) -> None:
    [result] = run(Model(never, *[r"\boxed{5}"] * 3), first(r"\boxed{8}"), rounds=rounds)
    assert kinds(result).count("reflect") == result.rounds == rounds


def test_no_verdict_is_not_wrong_so_the_answer_stands() -> None:
    [result] = run(Model(silent), first(r"\boxed{8}"))
    assert kinds(result) == ["answer", "judge"] and result.trace[1].extracted is None
    assert result.completion == r"\boxed{8}"


def test_a_text_without_an_answer_is_not_judged_but_tried_again_with_the_text_shown() -> None:
    model = Model(knows, r"\boxed{7}")
    [result] = run(model, first("I was cut off in the mid"))
    assert kinds(result) == ["answer", "reflect", "judge"]
    assert "I was cut off" in str(model.calls[0][0].prompt) and result.completion == r"\boxed{7}"


def test_a_reflection_without_an_answer_leaves_the_previous_one_standing() -> None:
    [result] = run(Model(never, "hm", "hm"), first(r"\boxed{8}"))
    assert result.rounds == 2 and result.completion == r"\boxed{8}"


def test_nothing_is_asked_about_a_failed_or_empty_sample() -> None:
    model = Model(knows)
    failed, empty = run(model, first("", finish_reason="error", error="too long"), first("", id="q"))
    assert model.calls == [] and kinds(failed) == kinds(empty) == ["answer"]
    assert (failed.finish_reason, failed.error) == ("error", "too long")


def test_select_judge_takes_a_change_only_if_the_judge_accepts_it() -> None:
    [changed] = run(Model(knows, r"\boxed{5}", r"\boxed{7}"), first(r"\boxed{8}"), select="judge")
    assert changed.completion == r"\boxed{7}" and kinds(changed)[-1] == "judge"
    [kept] = run(Model(never, r"\boxed{5}", r"\boxed{6}"), first(r"\boxed{8}"), select="judge")
    assert kept.completion == r"\boxed{8}" and kept.rounds == 2


@pytest.mark.parametrize(("solutions", "selected"), [
    ((r"\boxed{5}", r"$8$ so \boxed{$8$}"), r"$8$ so \boxed{$8$}"),
    ((r"\boxed{5}", r"again \boxed{5}"), r"again \boxed{5}"),
    ((r"\boxed{5}", r"\boxed{6}"), r"\boxed{6}"),
])
def test_select_majority_takes_the_most_frequent_and_then_the_later(solutions: tuple[str, ...],
                                                                   selected: str) -> None:
    [result] = run(Model(never, *solutions), first(r"\boxed{8}"), select="majority")
    assert result.completion == selected


def test_a_round_costs_two_calls_whatever_the_number_of_records() -> None:
    model = Model(never, *[r"\boxed{5}"] * 100)
    results = run(model, *[first(r"\boxed{8}", id=f"p{i}") for i in range(50)], rounds=2)
    assert len(results) == 50 and [len(call) for call in model.calls] == [50] * 4
    assert len({prompt.id for call in model.calls for prompt in call}) == 200


def test_records_do_not_influence_each_other() -> None:
    records = [first(r"\boxed{8}", id="a"), first(r"\boxed{7}", id="b"), first("", id="c")]
    together = run(Model(knows, r"\boxed{7}"), *records)
    assert together == [run(Model(knows, r"\boxed{7}"), record)[0] for record in records]


def test_what_was_said_of_the_first_completion_is_not_carried() -> None:
    extra = {"subject": "x", "verdict": {"status": "wrong"}, "reward": 0.0}
    [result] = run(Model(knows, r"\boxed{7}"), first(r"\boxed{8}", extra=extra))
    assert result.extra == {"subject": "x"}


def test_images_go_along_every_turn() -> None:
    model = Model(never, r"\boxed{5}", r"\boxed{5}")
    run(model, first(r"\boxed{8}", images=("a.png",)))
    assert {prompt.images for call in model.calls for prompt in call} == {("a.png",)}
