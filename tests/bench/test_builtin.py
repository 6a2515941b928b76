"""The benchmark on each built-in task, answered by a model that knows some of it by heart."""

from collections.abc import Callable

import pytest
from tests.bench.conftest import Model, boxed

from sparkcli.bench import builtin
from sparkcli.bench.heldout import held_out
from sparkcli.bench.stages import Stages
from sparkcli.builtin import TASKS
from sparkcli.records import Prompt


def knowing(prompt: Prompt, number: int, greedy: bool) -> str:
    """Right when it is greedy and in every second sample; says Yes where it is to judge."""
    if prompt.answer is None:
        return boxed("Yes")
    return boxed(prompt.answer if greedy or number % 2 == 0 else "1000")


@pytest.mark.parametrize("name", TASKS)
def test_every_part_is_measured(name: str, stages: Callable[..., Stages]) -> None:
    model = Model(knowing)
    asked = stages(model)
    items = held_out(builtin.standard(name), asked, 4)
    found = builtin.run(name, items, asked, limit=3)
    assert found["abilities"]["solve"] == {"accuracy": 1.0, "stderr": 0.0, "n": 4}
    assert found["abilities"]["reflection"]["accuracy"] == 1.0
    assert found["scaling"]["greedy"]["n"] == 3
    assert {prompt.id.split("/")[0] for prompt in model.asked} == {name}


def test_questions_about_pictures_are_asked_with_them(stages: Callable[..., Stages]) -> None:
    """Those that are made of answers, too."""
    model = Model(knowing)
    asked = stages(model)
    builtin.run("tiny-vision", held_out(builtin.standard("tiny-vision"), asked, 2), asked, limit=2)
    assert {prompt.task for prompt in model.asked} == {"solve", "judge", "compare", "reflect"}
    assert all(len(prompt.images) == 1 for prompt in model.asked)
