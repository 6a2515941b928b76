"""Recipes: what is written is read back as it was."""

import tomllib
from pathlib import Path

import pytest

from sparkcli.errors import UsageError
from sparkcli.files.recipe import read_recipe, write_recipe

VLLM = {"tensor_parallel_size": 8, "enforce_eager": True, "kv_cache_dtype": "fp8", "a key = [x]": "a \"word\" \\ word",
        "compilation_config": {"mode": 3, "sizes": [1, 2, 4.5], "": {}}}
SERVER = {"base_url": ["http://one/v1", "http://two/v1"], "sync_adapters": False, "served_name": "ünï\n\t\x01\x7f"}
SECTIONS = {"rollout": {"seed": 3, "top_p": 1e-07, "temperature": float("inf"), "vllm": VLLM}, "server": SERVER}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(write_recipe(SECTIONS), encoding="utf-8")
    assert read_recipe(str(path)) == SECTIONS


def test_unset_values_are_left_out() -> None:
    assert tomllib.loads(write_recipe({"rollout": {"vllm": None, "seed": 0}})) == {"rollout": {"seed": 0}}
    assert tomllib.loads(write_recipe({"rollout": {"vllm": {"quantization": None}}})) == {"rollout": {"vllm": {}}}


def test_a_list_cannot_hold_null() -> None:
    with pytest.raises(UsageError, match="null"):
        write_recipe({"rollout": {"vllm": {"sizes": [1, None]}}})


@pytest.mark.parametrize("content", [b"[rollout", b"\xff"])
def test_what_is_not_toml_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "recipe.toml").write_bytes(content)
    with pytest.raises(UsageError, match=r"recipe\.toml: not TOML: [^\n]+$"):
        read_recipe(str(tmp_path / "recipe.toml"))
