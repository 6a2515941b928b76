"""Every stage that counts prompt groups counts them alike: `verify`, `train-step`, the loop's table, `report`."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.commands.conftest import Cli

from sparkcli.files.jsonl import read
from sparkcli.method.group_kinds import GROUP_KINDS
from sparkcli.records import Scored
from sparkcli.run.report.album import Album
from sparkcli.run.report.reading import read_records
from sparkcli.run.watch import Lines
from sparkcli.verdicts.summary import Summary

Sample = tuple[str, float | None, dict[str, float] | None]


def sample(status: str, reward: float | None, **shaping: float) -> Sample:
    return status, reward, {"outcome": reward, **shaping} if shaping else None  # type: ignore[dict-item]


RIGHT, WRONG, NONE = sample("correct", 1.0), sample("wrong", 0.0), sample("no_answer", 0.0)
HALF, THIRD, UNKNOWN = sample("wrong", 0.5), sample("wrong", 1 / 3), sample("timeout", None)


@pytest.mark.parametrize(("group", "kind", "signal"), [
    ([RIGHT, RIGHT], "all_right", False),
    ([WRONG, NONE], "all_wrong", False),
    ([RIGHT, WRONG], "mixed", True),
    ([HALF, HALF], "equal_partial", False),
    ([HALF, THIRD], "mixed", True),
    ([HALF, RIGHT], "mixed", True),
    ([HALF, WRONG], "mixed", True),
    ([UNKNOWN, UNKNOWN], "unknown", False),
    ([RIGHT, UNKNOWN], "all_right", False),
    ([HALF, UNKNOWN], "equal_partial", False),
    ([RIGHT, WRONG, UNKNOWN], "mixed", True),
    ([RIGHT], "all_right", False),
    ([sample("correct", 1.0, overlong=0.0), sample("correct", 1.0, overlong=-0.25)], "all_right", True),
    ([sample("wrong", 0.0, format=0.5), sample("wrong", 0.0, format=0.0)], "all_wrong", True),
    ([sample("wrong", 0.0, format=0.5), sample("no_answer", 0.0, format=0.5)], "all_wrong", False),
    ([sample("correct", 1.0, overlong=-0.5), sample("wrong", 0.5, overlong=0.0)], "mixed", False),
])
def test_all_stages_agree(cli: Cli, tmp_path: Path, group: list[Sample], kind: str, signal: bool) -> None:
    path = tmp_path / "scored.jsonl"
    path.write_text("".join(map(json.dumps, lines_of(group))).replace("}{", "}\n{"))
    counts, with_signal = {name: int(name == kind) for name in GROUP_KINDS}, int(signal)

    summary = Summary()
    for record in read(str(path), Scored):
        summary.add(record)
    assert (dict(summary.groups), summary.groups_with_signal) == ({kind: 1}, with_signal)
    assert summary.text().endswith(f"groups: 1 {kind.replace('_', ' ')}; with a signal: {with_signal}")

    plan = json.loads(cli("train-step", path, "--dry-run", "-m", "builtin:tiny-math").out)
    assert (plan["groups"], plan["groups_with_signal"], plan["updates"]) == (counts, with_signal, with_signal)

    figures = read_records(str(path), 9, Album()).figures.total
    assert (figures.kinds, figures.with_signal) == ({kind: 1}, with_signal)
    page = tmp_path / "page.html"
    assert cli("report", path, "-o", page).code == 0
    assert f"{kind.replace('_', ' ')} 1 (100.0 %)" in page.read_text()

    table = Console(file=io.StringIO(), width=100)
    phase = {"reward": {}, "kl": 0.0, "clip_share": 0.0, **plan}
    Lines(table, 1).step({"step": 1, "policy": phase, "queue": 0}, 1.0)
    assert f"signal {with_signal}/1 " in table.file.getvalue()  # type: ignore[attr-defined]


def lines_of(group: list[Sample]) -> list[dict[str, Any]]:
    """Scored rollouts of one prompt, with what training reads; a reward is the sum of its terms."""
    return [{"id": "p", "prompt": "?", "sample": number, "samples": len(group), "completion": "8", "token_ids": [5, 6],
             "prompt_token_ids": [7], "logprobs": [-0.5, -0.5], "verdict": {"status": status, "verifier": "math"},
             "reward": sum(terms.values()) if terms else reward, **({"terms": terms} if terms else {})}
            for number, (status, reward, terms) in enumerate(group)]
