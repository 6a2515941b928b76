"""Numbers that 64 bits do not hold come through every stage, as golds and in what is carried."""

import json
from pathlib import Path

import pytest
from tests.commands.conftest import Cli

BIG = "123456789012345678901234567890"
CARRIED = f'"mine":{{"deep":[-{BIG},0.12345678901234567890123,1E+400],"plain":0.25}}'


def test_through_all_stages(cli: Cli, tmp_path: Path) -> None:
    row = f'{{"id":"a","question":"How many?","answer":{BIG},{CARRIED}}}\n'
    prompts = cli("prepare", "-", stdin=row).out
    rollouts = cli("rollout", "-", "-n", "8", "--engine", "scripted", "-m", "scripted", stdin=prompts).out
    scored = cli("verify", "-", stdin=rollouts).out
    judged = cli("judge", "-", "--engine", "scripted", "-m", "scripted", stdin=scored).out
    reflected = cli("reflect", "-", "--engine", "scripted", "-m", "scripted", stdin=rollouts).out
    recycled = cli("recycle", "-", stdin=scored).out
    for lines, count in ((prompts, 1), (rollouts, 8), (scored, 8), (judged, 8), (reflected, 8)):
        assert lines.count(CARRIED) == lines.count(f'"answer":"{BIG}"') == lines.count("\n") == count
    found = {json.loads(line)["verdict"]["extracted"]: json.loads(line)["reward"] for line in scored.splitlines()}
    assert found[BIG] == 1.0
    assert {reward for answer, reward in found.items() if answer != BIG} == {0.0}
    assert BIG in recycled


@pytest.mark.parametrize(("completion", "tolerance", "reward"), [
    (BIG, 0, 1.0), (f"-{BIG}", 0, 0.0), (BIG[:-1] + "1", 0, 0.0), (BIG[:-1] + "1", 1.0000000000000000555, 1.0),
    ("1.2345678901234567890123456789 × 10^29", 0, 1.0), (f"{BIG} kg", 0, 1.0)])
def test_the_verifier_of_numbers_tells_integers_apart_that_floats_do_not(cli: Cli, completion: str, tolerance: float,
                                                                         reward: float) -> None:
    verifier = f'{{"name":"number","abs_tol":{tolerance}}}'
    line = f'{{"answer":{BIG},"completion":"\\\\boxed{{{completion}}}","verifier":{verifier}}}\n'
    assert json.loads(cli("verify", "-", "--jobs", "1", stdin=line).out)["reward"] == reward


@pytest.mark.parametrize(("answer", "completion", "reward"), [
    (BIG, BIG, 1.0), (BIG, "123456789012345678901234567891", 0.0), (BIG, "1.2345678901234568e29", 0.0),
    ("9007199254740993", "9007199254740992", 0.0), ("9007199254740993.0", "9007199254740993", 1.0),
    ("27.0", "27", 1.0)])
def test_stored_outputs_with_numbers_as_answers(cli: Cli, answer: str, completion: str, reward: float) -> None:
    line = f'{{"answer":{answer},"completion":"\\\\boxed{{{completion}}}"}}\n'
    result = cli("verify", "-", "--jobs", "1", stdin=line)
    assert json.loads(result.out)["reward"] == reward


def test_a_number_that_no_record_can_have(cli: Cli) -> None:
    line = '{"id":"a","prompt":"?","sample":0,"samples":1,"completion":"","logprobs":[%s]}\n'
    result = cli("verify", "-", stdin=line % ("9" * 400))
    assert result.code == 3
    assert result.err.endswith("logprobs: expected a number that floats can hold, found an integer beyond them\n")
    not_json = cli("verify", "-", stdin=line % "NaN").err
    assert not_json == "sparkcli: stdin:1: not JSON: NaN is no JSON value, write null, at column 75\n"
