"""A random model for the room, and policies trained from it."""

from pathlib import Path

import pytest
from tests.models.tiny import write_model, write_policies


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that ends about half of its completions within two dozen tokens."""
    return write_model(tmp_path_factory.mktemp("model"), eos_bias=0.5)


@pytest.fixture(scope="session")
def policies(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two adapters, and full weights, of that model."""
    return write_policies(model_folder, tmp_path_factory.mktemp("policies"))
