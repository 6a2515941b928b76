"""A random model for the room, and policies trained from it."""

from pathlib import Path

import pytest
from tests.models.tiny import load_tiny, stir, write_model

from sparkcli.config import TrainConfig
from sparkcli.models.policy import add_adapter, save


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that ends about half of its completions within two dozen tokens."""
    return write_model(tmp_path_factory.mktemp("model"), eos_bias=0.5)


@pytest.fixture(scope="session")
def policies(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Policies of that model, as training would leave them: two adapters, and full weights."""
    folder = tmp_path_factory.mktemp("policies")
    for seed, name in enumerate(("lora", "lora2", "full")):
        policy = load_tiny(model_folder)
        if name != "full":
            add_adapter(policy, TrainConfig(lora_rank=4, lora_alpha=8, seed=seed))
        stir(policy, seed=seed)
        save(policy, folder / name, {"step": 1}, None)
    return {name: folder / name for name in ("lora", "lora2", "full")}
