import pytest
from tests.run.report.conftest import row, scored

from sparkcli.errors import InputError
from sparkcli.run.report.line import line_of

JUDGEMENT = {"mode": "pointwise", "status": "ok", "score": 1.0, "label": "Yes", "votes": 1, "asked": 1}
SAMPLE = row("p", sample=0, samples=1, completion="4")


@pytest.mark.parametrize(("value", "kind", "word"), [
    (row("p"), "prompt", None),
    (row("p", verdict="of the data set"), "prompt", None),
    (SAMPLE, "rollout", None),
    (scored("p", "wrong")[0], "scored", "wrong"),
    ({**SAMPLE, "judgement": JUDGEMENT}, "judged", "Yes"),
    ({**SAMPLE, "trace": [], "rounds": 0}, "reflected", None),
    ({**scored("p", "correct")[0], "judgement": JUDGEMENT, "trace": [], "rounds": 0},
     "scored and judged and reflected", "correct"),
    ({**scored("p", "error")[0], "finish_reason": "error", "error": "too long"}, "scored", "not_sampled"),
])
def test_fields_say_what_a_line_is(value: dict[str, object], kind: str, word: str | None):
    line = line_of(value, "f:1")
    assert (line.kind, line.word) == (kind, word)


def test_all_that_was_said_of_a_sample_is_kept():
    line = line_of({**scored("p", "wrong")[0], "judgement": JUDGEMENT, "rounds": 1,
                    "trace": [{"kind": "answer", "completion": "5"}]}, "f:1")
    assert line.verdict and line.verdict.extracted == "0" and line.reward == 0.0
    assert line.judgement and line.judgement.label == "Yes"
    assert [turn.completion for turn in line.trace] == ["5"]


@pytest.mark.parametrize("value", [7, {"step": 1, "queue": 2}, {**SAMPLE, "verdict": "right"}])
def test_what_is_no_record_is_refused_with_its_place(value: object):
    with pytest.raises(InputError, match=r"^f:3: "):
        line_of(value, "f:3")
