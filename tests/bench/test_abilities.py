"""The five abilities on a model whose answers are known."""

from collections.abc import Callable

import pytest
from tests.bench.conftest import WORDING, Model, boxed, problem

from sparkcli.bench.abilities import abilities
from sparkcli.bench.heldout import HeldOut
from sparkcli.bench.stages import Stages
from sparkcli.method.metrics import Proportion
from sparkcli.method.prompts import ask_if_right
from sparkcli.records import Prompt, Rollout, extend


def judged(id: str, right: bool) -> Prompt:
    """A pointwise item about an answer to a problem."""
    answer = extend(problem(id), Rollout, sample=0, samples=1, completion="")
    return ask_if_right(answer, "7" if right else "8", WORDING, f"{id}/judge", right)


def test_each_ability_is_the_share_of_right_greedy_replies(stages: Callable[..., Stages]) -> None:
    items = HeldOut(solve=[problem("a"), problem("b"), problem("c"), problem("d")],
                    pointwise=[judged("a", True), judged("b", False)],
                    pairwise=[Prompt(id="pair", prompt="A or B?", answer="B", task="compare", verifier="label")],
                    reflection=[problem("again", answer="9")])

    def reply(prompt: Prompt, number: int, greedy: bool) -> str:
        assert greedy
        return {"a": boxed("7"), "b": boxed("8"), "c": "I do not know", "d": boxed("6"), "again": boxed("9"),
                "pair": "B, I think"}.get(prompt.id, boxed("Yes"))

    found = abilities(items, stages(Model(reply)))
    assert found["solve"] == Proportion(0.25, pytest.approx(0.2165, abs=1e-4), 4)
    assert found["pointwise"] == Proportion(0.5, pytest.approx(0.3536, abs=1e-4), 2)  # it always says Yes
    assert found["pairwise"] == Proportion(0.0, 0.0, 1)  # a label outside of a box is none
    assert found["reflection"] == Proportion(1.0, 0.0, 1)


def test_self_reflection_mends_what_the_judge_rejects(stages: Callable[..., Stages]) -> None:
    """a is right and accepted; b wrong and mended; c wrong but accepted; d right, but rejected and spoilt."""
    first = {"a": "7", "b": "8", "c": "8", "d": "7"}
    verdict = {"a": "Yes", "b": "No", "c": "Yes", "d": "No"}
    second = {"b": "7", "d": "8"}

    def reply(prompt: Prompt, number: int, greedy: bool) -> str:
        origin = prompt.id.partition("/")[0]
        return boxed({"solve": first, "judge": verdict, "reflect": second}[prompt.task][origin])

    found = abilities(HeldOut(solve=[problem(id) for id in first]), stages(Model(reply), rounds=1))
    assert (found["solve"].accuracy, found["self_reflection"].accuracy) == (0.5, 0.5)


def test_an_answer_that_cannot_be_verified_takes_no_part(stages: Callable[..., Stages]) -> None:
    items = HeldOut(solve=[problem("a"), Prompt(id="open", prompt="Say something.")])
    found = abilities(items, stages(Model(lambda prompt, number, greedy: boxed("7"))))
    assert found["solve"] == Proportion(1.0, 0.0, 1, unknown=1)


def test_no_items_no_accuracy(stages: Callable[..., Stages]) -> None:
    found = abilities(HeldOut(), stages(Model(lambda prompt, number, greedy: "")))
    assert set(found) == {"solve", "pointwise", "pairwise", "reflection", "self_reflection"}
    assert set(found.values()) == {Proportion(None, None, 0)}
