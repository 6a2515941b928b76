"""Precision that is left open: exact where tokens are kept, quick where only text is."""

from pathlib import Path

import pytest
import torch
from tests.models.tiny import write_model
from transformers import AutoModelForCausalLM

from sparkcli.config import ModelConfig
from sparkcli.models import precision
from sparkcli.models.policy import load
from sparkcli.models.precision import for_text


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model whose files hold float32, and one whose files hold bfloat16."""
    plain = write_model(tmp_path_factory.mktemp("float32"), eos_bias=0.5)
    rounded = write_model(tmp_path_factory.mktemp("bfloat16"), eos_bias=0.5)
    AutoModelForCausalLM.from_pretrained(plain, dtype=torch.bfloat16).save_pretrained(rounded)
    return {"float32": plain, "bfloat16": rounded}


@pytest.fixture(autouse=True)
def units(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU with units, whatever runs the tests, and no model too small."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False, "amx_bf16": True})
    monkeypatch.setattr(precision, "LEAST_BYTES", 1)


def test_text_alone_takes_bfloat16_where_the_files_hold_it(folders: dict[str, Path]) -> None:
    assert for_text(ModelConfig(name=str(folders["bfloat16"]), device="cpu")).dtype == "bfloat16"
    assert for_text(ModelConfig(name=str(folders["float32"]), device="cpu")).dtype == "auto"


def test_what_was_asked_for_stays(folders: dict[str, Path]) -> None:
    model = ModelConfig(name=str(folders["bfloat16"]), device="cpu", dtype="float32")
    assert for_text(model) == model


def test_small_models_and_cpus_without_units_stay_exact(folders: dict[str, Path],
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    model = ModelConfig(name=str(folders["bfloat16"]), device="cpu")
    with monkeypatch.context() as patch:
        patch.setattr(precision, "LEAST_BYTES", 1 << 26)
        assert for_text(model) == model
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False})
    assert for_text(model) == model


def test_whatever_keeps_tokens_stays_exact(folders: dict[str, Path]) -> None:
    assert load(ModelConfig(name=str(folders["bfloat16"]), device="cpu")).network.dtype == torch.float32
