"""Tests against real vLLM, in an environment of its own: `make test-vllm`."""

import importlib.util
from pathlib import Path

import pytest
import tests.vllm.environment  # noqa: F401  # before torch and vLLM
from tests.vllm.server import servers as servers

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
