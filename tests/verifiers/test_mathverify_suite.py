"""math-verify's own tests: its 268 pairs of gold answers and predictions, the predictions boxed, beside our verdicts.

`mathverify_disagreements.jsonl` lists every pair on which the verdicts differ, with the reason. The boxes are not
math-verify's: they were set by a rule, and some are around another formula than the answer.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sparkcli.config import VerifyConfig
from sparkcli.records import Rollout
from sparkcli.verdicts.referee import verify

Row = dict[str, Any]


def rows(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


DISAGREEMENTS = rows(Path(__file__).parent / "mathverify_disagreements.jsonl")


def rollout(row: Row) -> Rollout:
    return Rollout(id=row["id"], prompt="?", answer=row["answer"], sample=0, samples=1, completion=row["boxed"])


def test_every_difference_from_the_expected_verdicts_is_known(shared_data: Path):
    pairs = rows(shared_data / "mathverify/pairs.jsonl")
    scored = verify(map(rollout, pairs), VerifyConfig(verifier="math", timeout=60.0))
    found = [(row["id"], row["equal"], ours.verdict.status)
             for row, ours in zip(pairs, scored, strict=True) if (ours.reward == 1.0) != row["equal"]]
    assert found == [(row["id"], row["expected"], row["status"]) for row in DISAGREEMENTS]
    assert len(pairs) == 268


def test_where_math_verify_is_right_the_verdicts_do_not_differ():
    assert Counter(row["class"] for row in DISAGREEMENTS) == {
        "box of the data": 11, "no answer": 7, "rounding": 2, "gold": 2, "names": 2, "decimal comma": 1, "dollars": 1,
        "sets": 1, "several boxes": 1}


@pytest.mark.parametrize("row", DISAGREEMENTS, ids=lambda row: row["id"].partition(":")[2])
def test_a_difference_is_explained(row: Row):
    assert row["why"] and (row["status"] == "correct") != row["expected"]
