"""Golden cases: `golden/COMMAND/CASE` holds the arguments, standard input, and what came of them.

`cmd` is the command line; `stdin` may be missing; `stdout`, `stderr` and `code` are compared byte for byte, with the
version and fingerprints masked. `UPDATE_GOLDEN=1` writes them anew: read the difference before you commit it.
"""

import os
import re
import shlex
from pathlib import Path

import pytest
from tests.commands.conftest import Cli

import sparkcli
from sparkcli.commands.main import COMMANDS

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.parent for path in GOLDEN.rglob("cmd"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_golden(case: Path, cli: Cli, inputs: Path):
    stdin = case / "stdin"
    arguments = shlex.split((case / "cmd").read_text(encoding="utf-8"))[1:]
    result = cli(*arguments, stdin=stdin.read_text(encoding="utf-8") if stdin.exists() else "")
    found = {"stdout": masked(result.out), "stderr": masked(result.err), "code": f"{result.code}\n"}
    if os.environ.get("UPDATE_GOLDEN"):
        for name, content in found.items():
            (case / name).write_text(content, encoding="utf-8")
    assert found == {name: (case / name).read_text(encoding="utf-8") for name in found}


def masked(text: str) -> str:
    """Without what changes when the version, the built-in checkpoint or torch does."""
    text = text.replace(f"scripted/{sparkcli.__version__}", "scripted/VERSION")
    text = re.sub(r'"memory_mib":\{.*?\}', '"memory_mib":MEMORY', text)
    return re.sub(r"updated \([0-9a-f]{16}\)", "updated (FINGERPRINT)", text)


def test_every_command_has_a_case():
    """All but `doctor`, which finds something else on every machine."""
    assert {case.parent.name for case in CASES} == COMMANDS.keys() - {"doctor"}
