"""Tests against real vLLM, in an environment of its own: `make test-vllm`."""

import importlib.util
import os
from pathlib import Path

import pytest
from tests.vllm.server import servers as servers

# Before anything imports torch or vLLM, which read them once; processes started by tests inherit them.
for name, value in {
    "DO_NOT_TRACK": "1", "TORCH_COMPILE_DISABLE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}.items():
    os.environ[name] = value

if importlib.util.find_spec("vllm") is None:
    collect_ignore = [path.name for path in Path(__file__).parent.glob("test_*.py") if path.name != "test_installed.py"]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model in a shape that vLLM runs, which ends about half of its completions within two dozen tokens; its
    head is tied, which a reload of weights has to follow."""
    from tests.models.tiny import write_model

    return write_model(tmp_path_factory.mktemp("model"), eos_bias=0.5, head_dim=32, tied=True)


@pytest.fixture(scope="session")
def policies(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two adapters, and full weights, of that model."""
    from tests.models.tiny import write_policies

    return write_policies(model_folder, tmp_path_factory.mktemp("policies"))
