"""A fingerprint follows the content, and large files are read in part."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.models.tiny import load_tiny, stir

from sparkcli.config import TrainConfig
from sparkcli.errors import UsageError
from sparkcli.models import fingerprint
from sparkcli.models.fingerprint import check_safetensors, model_fingerprint, policy_fingerprint
from sparkcli.models.policy import add_adapter, save


def flip_byte(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_a_copy_has_the_same_and_a_change_another(model_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model_folder, tmp_path / "copy")
    assert model_fingerprint(copy) == model_fingerprint(model_folder)
    flip_byte(copy / "model.safetensors", -1)
    assert model_fingerprint(copy) != model_fingerprint(model_folder)


def test_large_files_are_sampled_from_end_to_end(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "WHOLE_FILE_BYTES", 1000)
    monkeypatch.setattr(fingerprint, "BLOCK_BYTES", 16)
    monkeypatch.setattr(fingerprint, "BLOCKS", 4)
    seen = {model_fingerprint(model_folder)}
    for position in (-1, -100, 20):  # the last block, between two blocks, the header
        copy = shutil.copytree(model_folder, tmp_path / str(position))
        content = bytearray((copy / "model.safetensors").read_bytes())
        content[position] = content[position] ^ 1 if position < 0 else ord(" ")
        monkeypatch.setattr(fingerprint, "check_safetensors", lambda path: None)
        (copy / "model.safetensors").write_bytes(content)
        seen.add(model_fingerprint(copy))
    assert len(seen) == 3


def test_a_policy_is_its_base_and_its_adapter_not_its_optimiser(model_folder: Path, tmp_path: Path) -> None:
    policy = load_tiny(model_folder)
    add_adapter(policy, TrainConfig(lora_rank=2, lora_alpha=4))
    stir(policy)
    save(policy, tmp_path / "1", {"step": 1}, None)
    first = policy_fingerprint(tmp_path / "1")
    save(policy, tmp_path / "2", {"step": 2}, None)
    assert policy_fingerprint(tmp_path / "2") == first
    stir(policy, seed=1)
    save(policy, tmp_path / "3", {"step": 3}, None)
    assert policy_fingerprint(tmp_path / "3") != first


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 100, (9).to_bytes(8, "little") + b"[1, 2, 3]"])
def test_what_is_no_safetensors_file_is_said_so(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="safetensors"):
        check_safetensors(path)


def test_neither_torch_nor_numpy_is_needed() -> None:
    code = ("import sys, sparkcli.models.fingerprint, sparkcli.models.locate, sparkcli.engines.scripted\n"
            "sys.exit(bool({'torch', 'numpy', 'transformers'} & set(sys.modules)))")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
