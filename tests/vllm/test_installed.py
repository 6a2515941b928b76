"""The only test of this room where vLLM is missing: it says so."""

import pytest


def test_vllm_is_installed() -> None:
    vllm = pytest.importorskip("vllm", reason="vllm is not installed here; `make test-vllm` runs these tests where it "
                                              "is")
    assert vllm.__version__
