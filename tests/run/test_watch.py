"""What a run tells people: lines, or a table that fits 80 columns, and the results at the end."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from rich.live import Live

from sparkcli.run.watch import SHOWN, Lines, LiveTable, watching


def phase(**changes: Any) -> dict[str, Any]:
    return {"reward": {"solve": 0.25}, "updates": 2, "kl": 0.00125, "clip_share": 0.031,
            "groups": {"all_right": 2, "all_wrong": 2, "mixed": 28, "unknown": 0}, "groups_with_signal": 29, **changes}


def step(number: int, **changes: Any) -> dict[str, Any]:
    recycled = phase(reward={"judge": 0.5, "compare": 0.625, "reflect": 0.125}, kl=0.25, clip_share=0.01)
    return {"step": number, "policy": phase(), "recycled": recycled, "queue": 17, **changes}


RESULT = {"accuracy": 0.1875, "stderr": 0.0976, "n": 512}
RESULTS = dict.fromkeys(("solve", "pointwise", "pairwise", "reflection", "self_reflection"), RESULT)
SUMMARY = {"before": RESULTS, "after": RESULTS, "scaling": {"before": None, "after": {"majority": RESULT}},
           "steps": 32, "updates": 128, "seconds": 171.6, "policy": "runs/quickstart/policy/000032"}


@pytest.fixture
def screen() -> Console:
    return Console(file=StringIO(), width=80, height=30, force_terminal=True, color_system=None)


def text(screen: Console) -> str:
    return screen.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_a_step_is_a_line() -> None:
    console = Console(file=StringIO(), width=100)
    Lines(console, 32).step(step(3), 2.345)
    assert text(console) == ("step 3/32  solve 0.25  judge 0.50  compare 0.62  reflect 0.12  signal 29/32  kl 0.2500  "
                             "clipped 0.031  queue 17  2.3 s\n")


def test_what_a_step_has_not_is_left_out() -> None:
    console = Console(file=StringIO(), width=100)
    skipped = phase(updates=0, kl=None, clip_share=None, rollouts=128, null_rewards=0, groups_with_signal=0,
                    groups={"all_right": 0, "all_wrong": 32, "mixed": 0, "unknown": 0})
    Lines(console, 32).step({"step": 1, "policy": skipped, "queue": 3}, 1.0)
    assert text(console) == (
        "step 1/32  solve 0.25  signal 0/32  queue 3  1.0 s\n"
        "step 1: nothing to learn from: in no group do rewards differ (32 all wrong); try more samples a prompt "
        "(rollout -n), a higher --temperature, easier prompts\n")


def test_a_run_that_learnt_nothing_says_so() -> None:
    console = Console(file=StringIO(), width=200)
    Lines(console, 32).finished({**SUMMARY, "after": None, "updates": 0})
    assert text(console).splitlines()[1] == (
        "nothing was learnt: no step had anything to learn from, and the policy equals the model")


def test_an_evaluation_is_a_line_that_fits(screen: Console) -> None:
    Lines(screen, 32).evaluated("before", {"abilities": RESULTS})
    line = "before: solve 18.8, pointwise 18.8, pairwise 18.8, reflection 18.8, self 18.8 %"
    assert text(screen).splitlines() == [line]
    assert len(line) < 80


def test_the_end_shows_before_and_after_and_where_the_policy_is(screen: Console) -> None:
    watcher = Lines(screen, 32)
    watcher.evaluated("after", {"abilities": RESULTS})
    watcher.finished(SUMMARY)
    rows = [" ".join(line.split()) for line in text(screen).splitlines()]
    assert "reflection 18.8 ± 9.8 18.8 ± 9.8 512" in rows
    assert "majority - 18.8 ± 9.8 512" in rows
    assert rows[-1] == "32 steps, 128 updates, 172 s; policy: runs/quickstart/policy/000032"


def test_a_run_without_evaluation_has_no_table(screen: Console) -> None:
    Lines(screen, 32).finished({**SUMMARY, "before": None, "after": None})
    assert len(text(screen).splitlines()) == 1


def test_the_live_table_fits_80_columns_and_shows_the_last_steps(screen: Console) -> None:
    with Live(console=screen, auto_refresh=False) as live:
        watcher = LiveTable(screen, 1000, live)
        for number in range(1000 - SHOWN, 1001):
            watcher.step(step(number), 123.4)
        watcher.begins("again-rollout")
        table = live.renderable
    screen.file = StringIO()
    screen.print(table)
    lines = text(screen).splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    assert [line.split()[0] for line in lines if line.strip()[:1].isdigit()][:-1] == [
        str(number) for number in range(1001 - SHOWN, 1001)]
    assert "1000 of 1000 steps" in lines[-1]
    assert "recycled rollout" in lines[-1]


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with watching(terminal=False, quiet=True, steps=1) as watcher:
        watcher.begins("evaluation before")
        watcher.step(step(1), 1.0)
        watcher.finished(SUMMARY)
    assert capsys.readouterr() == ("", "")


def test_people_are_told_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with watching(terminal=False, quiet=False, steps=1) as watcher:
        watcher.finished(SUMMARY)
    out, err = capsys.readouterr()
    assert out == ""
    assert "policy: runs/quickstart" in err
