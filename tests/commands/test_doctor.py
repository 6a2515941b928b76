"""`doctor` finds what is there."""

import importlib.util
import os
import platform

import pytest
from tests.commands.conftest import Cli

import sparkcli


@pytest.mark.slow
def test_doctor(cli: Cli):
    result = cli("doctor")
    assert (result.code, result.err) == (0, "")
    facts = dict(line.strip().split(maxsplit=1) for line in result.out.splitlines())
    assert facts["sparkcli"] == sparkcli.__version__
    assert facts["python"].startswith(platform.python_version())
    assert int(facts["cores"]) <= (os.cpu_count() or 1)
    if importlib.util.find_spec("vllm") is None:
        assert facts["vllm"] == "not installed; optional: pip install 'sparkcli[vllm]'"
    assert {"torch", "transformers", "device", "engine"} <= facts.keys()
    assert "MISSING" not in result.out
