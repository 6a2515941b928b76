"""One random model for the room; nobody writes into its folder."""

from pathlib import Path

import pytest
from tests.models.tiny import write_model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))
