"""Results as a table for people, on 80 columns."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

PARTS = {"abilities": "held out, greedy, % right", "scaling": "test-time scaling, % right"}


def results_table(results: Mapping[str, Mapping[str, Any]]) -> Table:
    """A column per set of results, under its name: percent right ± standard error, by part; then the items."""
    table = Table("", *results, "n", box=box.SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    last = list(results.values())[-1]
    for part in (part for part in PARTS if last.get(part)):
        table.add_row(f"[bold]{PARTS[part]}")
        for name, value in last[part].items():
            cells = [percent((result.get(part) or {}).get(name)) for result in results.values()]
            table.add_row(f"  {name.replace('_', ' ')}", *cells, str(value["n"]))
        table.add_section()
    return table


def percent(value: Mapping[str, Any] | None) -> str:
    """`93.4 ± 1.1`, or `-` where nothing was measured."""
    if value is None or value["accuracy"] is None:
        return "-"
    return f"{100 * value['accuracy']:.1f} ± {100 * value['stderr']:.1f}"
