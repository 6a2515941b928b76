"""Help comes at once: no command loads torch, transformers or numpy before it has something to do."""

import subprocess
import sys

import pytest

COMMANDS = ("prepare", "rollout", "verify", "recycle", "train-step", "judge", "reflect", "bench", "bench run",
            "loop", "report", "export", "schema", "doctor")
HEAVY = {"torch", "transformers", "numpy", "matplotlib", "PIL", "datasets", "pyarrow", "peft", "sympy", "math_verify",
         "huggingface_hub"}

PROGRAM = """
import sys
from sparkcli.commands.main import main
status = 0
try:
    main()
except SystemExit as end:
    status = end.code or 0
print("loaded", status, *{name.split(".")[0] for name in sys.modules})
"""


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_loads_nothing_heavy(command: str):
    ran = subprocess.run([sys.executable, "-c", PROGRAM, *command.split(), "--help"],
                         capture_output=True, text=True, check=True)
    *page, last = ran.stdout.splitlines()
    word, status, *loaded = last.split()
    assert (word, status) == ("loaded", "0"), ran.stderr
    assert any("Usage" in line for line in page)
    assert "sparkcli" in loaded
    assert HEAVY & set(loaded) == set()
