"""The table of results."""

from io import StringIO
from typing import Any

from rich.console import Console

from sparkcli.bench.tables import percent, results_table


def drawn(results: dict[str, Any], width: int = 80) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(results_table(results))
    return console.file.getvalue()  # type: ignore[attr-defined]


BEFORE = {"abilities": {"solve": {"accuracy": 0.1, "stderr": 0.02, "n": 512}, "self_reflection": {
    "accuracy": None, "stderr": None, "n": 0}}, "scaling": {"best_of_n": {"accuracy": 0.25, "stderr": 0.03, "n": 256}}}
AFTER = {"abilities": {"solve": {"accuracy": 1.0, "stderr": 0.0, "n": 512}, "self_reflection": {
    "accuracy": 0.5, "stderr": 0.25, "n": 4}}, "scaling": {"best_of_n": {"accuracy": 0.5, "stderr": 0.03, "n": 256}}}


def test_before_and_after_stand_side_by_side() -> None:
    rows = [" ".join(line.split()) for line in drawn({"before": BEFORE, "after": AFTER}).splitlines()]
    assert "before after n" in rows
    assert "solve 10.0 ± 2.0 100.0 ± 0.0 512" in rows
    assert "self reflection - 50.0 ± 25.0 4" in rows
    assert "best of n 25.0 ± 3.0 50.0 ± 3.0 256" in rows


def test_a_part_that_was_not_measured_is_left_out() -> None:
    text = drawn({"before": {**BEFORE, "scaling": None}, "after": {**AFTER, "scaling": None}})
    assert "solve" in text
    assert "scaling" not in text


def test_it_fits_a_terminal_of_80_columns() -> None:
    lines = drawn({"before": BEFORE, "after": AFTER}).splitlines()
    assert max(map(len, lines)) < 80
    assert not any("…" in line for line in lines)


def test_nothing_measured_is_a_dash() -> None:
    assert percent(None) == "-"
