"""Streams of verdicts: order, reuse, and what hostile answers and dying workers cost.

Most tests use a verifier of their own, which does as the answer says: it compares, hangs, hangs without listening to
signals, crashes, or eats memory. That is fast to import and hostile without chance.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparkcli.config import ShapingConfig, VerifyConfig
from sparkcli.errors import InputError, UsageError
from sparkcli.records import Rollout
from sparkcli.verdicts.referee import Referee, verify

LIMIT = 1.0
OBEDIENT = """
import os, signal, time

def compare(completion, answer):
    found = completion.removeprefix("\\\\boxed{").removesuffix("}").split()
    assert answer != "unlike", "gold and answer are of unlike kinds"
    if found == ["hang"]:
        time.sleep(60)
    if found == ["deaf"]:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        time.sleep(60)
    if found == ["crash"]:
        os._exit(3)
    if found == ["memory"]:
        bytearray(1 << 40)
    time.sleep(0.001)
    return found == answer.split()
"""


def rollout(gold: str | None, answer: str, number: int = 0, **fields: object) -> Rollout:
    return Rollout(**{"id": str(number), "prompt": "?", "answer": gold, "sample": 0, "samples": 1,
                      "completion": rf"\boxed{{{answer}}}", **fields})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def obedient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of the verifier that does as it is told."""
    folder = tmp_path_factory.mktemp("obedient")
    (folder / "obedient.py").write_text(OBEDIENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield "obedient:compare"


@pytest.fixture(scope="module")
def referee(obedient: str) -> Iterator[Referee]:
    with Referee(VerifyConfig(verifier=obedient, jobs=2, timeout=LIMIT)) as referee:
        yield referee


def equal(number: int) -> Rollout:
    """Right, but not by the letter: a worker has to tell."""
    return rollout(f"x {number}", f"x  {number}", number)


def statuses(referee: Referee, rollouts: list[Rollout]) -> list[str]:
    return [scored.verdict.status for scored in referee.verify(rollouts)]


def test_the_verdict_is_added_and_the_rest_kept(referee: Referee):
    given = rollout("4", "5", verifier="exact", token_ids=(1, 2), extra={"mine": 1})
    [scored] = referee.verify([given])
    assert scored.reward == 0.0
    assert (scored.verdict.status, scored.verdict.extracted, scored.verdict.verifier) == ("wrong", "5", "exact")
    assert (scored.token_ids, scored.extra, scored.completion) == ((1, 2), {"mine": 1}, given.completion)


def test_input_order_is_kept_where_some_take_long(referee: Referee):
    rollouts = [rollout("x", "hang"), *map(equal, range(1, 20))]
    scored = list(referee.verify(rollouts))
    assert [entry.id for entry in scored] == [entry.id for entry in rollouts]
    assert [entry.verdict.status for entry in scored] == ["timeout"] + 19 * ["correct"]


@pytest.mark.parametrize(("answer", "status", "reason"), [
    ("hang", "timeout", "no verdict within 1 s"),
    ("deaf", "timeout", "no verdict within 1 s"),
    ("memory", "error", "out of memory"),
    ("crash", "error", "the worker process died of it"),
])
def test_a_hostile_answer_costs_nobody_else(referee: Referee, answer: str, status: str, reason: str):
    scored = list(referee.verify([equal(1), equal(2), rollout("x", answer, 3), equal(4), equal(5)]))
    assert [entry.verdict.status for entry in scored] == ["correct", "correct", status, "correct", "correct"]
    assert (scored[2].verdict.reason, scored[2].reward) == (reason, None)


def test_what_a_verifier_raises_is_an_error_with_its_reason(referee: Referee):
    [scored] = referee.verify([rollout("unlike", "x")])
    assert (scored.verdict.status, scored.reward) == ("error", None)
    assert scored.verdict.reason == "AssertionError: gold and answer are of unlike kinds"


def test_a_long_answer_is_handed_over_whole(referee: Referee):
    assert statuses(referee, [rollout("y " * 200_000, "y  " * 200_000), equal(1)]) == ["correct", "correct"]


def test_any_text_reaches_the_worker(referee: Referee):
    assert statuses(referee, [rollout("\x00 \ud800 é", "\x00  \ud800 é")]) == ["correct"]


@pytest.mark.parametrize(("fields", "reason"), [
    ({"gold": None}, "the record has no gold answer"),
    ({"finish_reason": "error", "error": "prompt too long"}, "nothing was sampled: prompt too long"),
])
def test_what_cannot_be_judged_is_an_error_without_a_reward(referee: Referee, fields: dict[str, object], reason: str):
    [scored] = referee.verify([rollout(**{"gold": "4", "answer": "4", "verifier": "exact", **fields})])  # type: ignore[arg-type]
    assert (scored.verdict.status, scored.verdict.reason, scored.reward) == ("error", reason, None)


def test_a_gold_answer_that_cannot_be_read_is_no_statement_about_the_answer(referee: Referee):
    [scored] = referee.verify([rollout("12", "B", verifier="choice")])
    assert (scored.verdict.status, scored.reward) == ("gold_unparseable", None)


def test_records_choose_their_verifier(referee: Referee):
    rollouts = [rollout("B", "(b)", verifier="choice"),
                rollout("10", "10.5", verifier={"name": "number", "rel_tol": 0.1}),
                rollout("Yes", "yes", task="judge"),
                rollout("no", "on", verifier="exact")]
    assert statuses(referee, rollouts) == ["correct", "correct", "correct", "wrong"]


def test_an_unknown_verifier_names_the_prompt(referee: Referee):
    with pytest.raises(InputError, match="prompt '7': verifier: unknown name 'mth'; did you mean 'math'"):
        list(referee.verify([rollout("1", "1", 7, verifier="mth")]))
    with pytest.raises(UsageError, match="--verifier: verifier: unknown name 'mth'"):
        Referee(VerifyConfig(verifier="mth"))


def test_a_rollout_of_an_unknown_verifier_can_be_left_out(referee: Referee):
    errors: list[InputError] = []
    rollouts = [equal(1), rollout("1", "1", 2, verifier="mth"), equal(3)]
    assert [scored.id for scored in referee.verify(rollouts, skip=errors.append)] == ["1", "3"]
    assert [str(error)[:10] for error in errors] == ["prompt '2'"]


@pytest.mark.parametrize(("completion", "lines"), [
    (r"<think>7/2?</think>So \boxed{3 1/2}</s>", [
        r"said        'So \\boxed{3 1/2}', without what was thought and the markers of its end",
        "read        '3 1/2', from the last box",
        r"rewritten   answer: 3\frac{1}{2}", "read as     answer: 7/2", "read as     gold: 7/2"]),
    (r"<think>\boxed{7/2}", ["found       no_answer, at once: nothing was said but a thought"]),
    (r"\boxed{\begin{foo}1}", ["read as     answer: nothing: it cannot be read as mathematics"]),
])
def test_what_was_made_of_an_answer_is_explained(completion: str, lines: list[str]):
    with Referee(VerifyConfig(jobs=1, timeout=30.0)) as mathematician:
        explained = mathematician.explain(rollout(r"\frac{7}{2}", "", completion=completion), ShapingConfig())
    assert set(lines) <= set(explained)


def test_answers_in_an_unknown_notation_are_told_from_wrong_ones():
    config = VerifyConfig(jobs=1, timeout=30.0, verifier='{"name": "all", "of": ["math", "exact"]}')
    answers = [rollout("5", r"\begin{foo}1"), rollout("5", "6")]
    assert [scored.verdict.is_unreadable for scored in verify(answers, config)] == [True, False]


def test_a_record_that_is_wrong_comes_after_the_verdicts_before_it(referee: Referee):
    stream = referee.verify([equal(1), equal(2), rollout("1", "1", 3, verifier="mth")])
    assert [next(stream).id, next(stream).id] == ["1", "2"]
    with pytest.raises(InputError, match="prompt '3': verifier"):
        next(stream)


def test_plain_answers_need_no_worker():
    with Referee(VerifyConfig()) as referee:
        assert statuses(referee, [rollout("4", "4"), rollout("4", "5"), rollout("A", "A", verifier="choice")]) == [
            "correct", "wrong", "correct"]
        assert referee.worker_pids == []


def test_equal_comparisons_are_made_once(referee: Referee):
    started = time.monotonic()
    assert statuses(referee, 50 * [rollout("y", "hang")]) == 50 * ["timeout"]
    assert time.monotonic() - started < 10 * LIMIT


def test_a_killed_worker_loses_nothing(referee: Referee):
    rollouts = list(map(equal, range(100, 180)))
    found = []
    for count, scored in enumerate(referee.verify(rollouts)):
        found.append((scored.id, scored.verdict.status))
        if count in (5, 15):
            os.kill(referee.worker_pids[0], signal.SIGKILL)
    assert found == [(entry.id, "correct") for entry in rollouts]


def test_a_verifier_that_does_not_start_says_so_and_is_not_tried_again(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "broken_there.py").write_text("import sys\n"
                                              "def check(completion, answer): return True\n"
                                              "if 'worker' in sys.argv[0]: raise OSError('no such disk')\n")
    monkeypatch.syspath_prepend(tmp_path)
    started = time.monotonic()
    scored = list(verify([equal(number) for number in range(200)], VerifyConfig(verifier="broken_there:check", jobs=1)))
    [reason] = {s.verdict.reason for s in scored}
    assert reason == ("verifier broken_there:check does not start: "
                      "ValueError: cannot be imported: OSError: no such disk")
    assert {s.reward for s in scored} == {None}
    assert time.monotonic() - started < 10.0  # one worker, not one for each


def test_streams(referee: Referee):
    endless = (rollout("4", "4", number) for number in itertools.count())
    assert [scored.id for scored in itertools.islice(referee.verify(endless), 3)] == ["0", "1", "2"]


def test_a_stream_that_is_left_early_does_not_disturb_the_next(referee: Referee):
    rollouts = list(map(equal, range(200, 240)))
    stream = referee.verify(rollouts)
    next(stream)
    stream.close()
    assert statuses(referee, rollouts) == 40 * ["correct"]


def test_works_outside_the_main_thread(obedient: str):
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.extend(
        scored.verdict.status for scored in verify([equal(1)], VerifyConfig(verifier=obedient, jobs=1))))
    thread.start()
    thread.join()
    assert found == ["correct"]


def test_workers_end_with_the_parent_and_import_no_torch(obedient: str, tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(f"""
import json, os, sys
sys.path[:0] = {sys.path!r}
from sparkcli.config import VerifyConfig
from sparkcli.records import Rollout
from sparkcli.verdicts.referee import Referee
referee = Referee(VerifyConfig(verifier={obedient!r}, jobs=1))
list(referee.verify([Rollout(id='1', prompt='?', answer='x y', sample=0, samples=1, completion=r'\\boxed{{x  y}}')]))
maps = open(f'/proc/{{referee.worker_pids[0]}}/maps').read() if os.path.exists('/proc/self/maps') else ''
print(json.dumps([referee.worker_pids, 'libtorch' in maps]), flush=True)
os._exit(0)
""")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=True)
    pids, has_torch = json.loads(done.stdout)
    assert (len(pids), has_torch, done.stderr) == (1, False, "")
    deadline = time.monotonic() + 10
    while is_alive(pids[0]) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(pids[0])


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")
