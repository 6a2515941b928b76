#!/usr/bin/env bash
# Installs sparkcli, editable, into the virtual environment .venv of this checkout. Safe to run again.
# Usage: .ci/setup.sh [EXTRAS]        e.g. .ci/setup.sh test
#
# PYTHON=python3.12   interpreter of a new environment
# TORCH=2.13.0        version of the CPU build
# CONSTRAINTS=FILE    versions of all else; /dev/null: the newest that pyproject.toml allows
#
# torch comes first and on its own: a plain `pip install torch` on Linux brings gigabytes of CUDA packages,
# wanted only where there is an NVIDIA GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
extras=${1:-}
torch=${TORCH:-2.13.0}
constraints=${CONSTRAINTS:-.ci/constraints.txt}
venv_python=.venv/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { echo "setup: $*" >&2; }

find_python() {
  local candidate
  for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  say "needs Python 3.11 or newer, found none; install one, or name it: PYTHON=/path/to/python3 make"
  return 1
}

make_venv() {
  local python
  python=$(find_python)
  "$python" -m venv .venv && return
  rm -rf .venv
  say "'$python -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv"
  return 1
}

torch_version() {
  "$venv_python" -c 'import importlib.metadata as m; print(m.version("torch"))' 2>/dev/null || true
}

wants_cpu_build() { [ "$(uname -s)" = Linux ] && ! nvidia-smi -L >/dev/null 2>&1; }

# The suffix +cpu pins the build itself: no index can answer it with a CUDA one.
install_cpu_torch() {
  say "no NVIDIA GPU: installing the CPU build of torch $torch"
  "$venv_python" -m pip install -q "torch==$torch+cpu" 2>/dev/null && return
  "$venv_python" -m pip install -q --retries 1 --timeout 20 \
    --extra-index-url https://download.pytorch.org/whl/cpu "torch==$torch+cpu"
}

refuse_cuda_packages() {
  local found
  found=$("$venv_python" -m pip list --format=freeze | grep -i '^nvidia-' || true)
  [ -z "$found" ] && return
  say "CUDA packages came with the CPU build: $(echo "$found" | tr '\n' ' ')"
  return 1
}

[ -x "$venv_python" ] || make_venv
if wants_cpu_build && [ -z "$(torch_version)" ]; then
  install_cpu_torch ||
    say "warning: no CPU build of torch $torch to be had; the default build follows, perhaps gigabytes"
fi
say "installing sparkcli and what it needs${extras:+ ($extras)}"
"$venv_python" -m pip install -q -c "$constraints" -e ".${extras:+[$extras]}"
case $(torch_version) in
  *+cpu) refuse_cuda_packages ;;
esac
