# make demo    set up, then train the built-in model and show what it learnt
# make test    set up, then lint, types and tests
# make test-qlora   the tests of 4-bit weights, with bitsandbytes beside the environment: peft imports it wherever it is
# make test-vllm    the tests against real vLLM on a CPU, in an environment of its own (.venv-vllm)
# make test-real   every stage on a real model of 135 M parameters, and vLLM on its export; skips where PyPI is out of reach
# make test-families   every causal family of transformers, sampled, trained and exported beside transformers and PEFT
# make check   lint and types only
# make bench   every benchmark script; figures as JSON under build/bench

PYTHON_FILES := src tests
BENCHMARKS := $(filter-out tests/benchmarks/common.py,$(wildcard tests/benchmarks/*.py))
PYTEST_ARGS ?= -n auto --maxprocesses 4
VLLM_ARGS ?= -q
CONSTRAINTS ?= .ci/constraints.txt
BIN := .venv/bin

.PHONY: demo test test-qlora test-vllm test-real test-families check bench clean

demo: .venv/.ready
	rm -rf runs/demo
	$(BIN)/sparkcli loop recipes/quickstart.toml -o runs/demo

test: check
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-qlora: build/qlora
	PYTHONPATH=build/qlora $(BIN)/python -m pytest -q tests/models/test_adapters.py tests/training/test_precision.py

build/qlora: .venv/.ready-test
	$(BIN)/python -m pip install -q --no-deps --target $@ -c $(CONSTRAINTS) 'bitsandbytes>=0.50'
	touch $@

test-vllm: .venv-vllm/.ready
	.venv-vllm/bin/python -m pytest $(VLLM_ARGS) tests/vllm

test-real: .venv/.ready-test .venv-vllm/.ready
	$(BIN)/python -m tests.real.fetch build/real
	$(BIN)/python -m pytest -q tests/real
	.venv-vllm/bin/python -m pytest $(VLLM_ARGS) tests/real

test-families: .venv/.ready-test
	$(BIN)/python -m pytest -q -n 2 tests/families

check: .venv/.ready-test
	$(BIN)/ruff check $(PYTHON_FILES)
	$(BIN)/mypy

bench: .venv/.ready-test
	mkdir -p build/bench
	set -e; for script in $(BENCHMARKS); do \
	  $(BIN)/python $$script --json build/bench/$$(basename $$script .py).json; \
	done

clean:
	rm -rf .venv .venv-vllm build dist .mypy_cache .pytest_cache .ruff_cache

.venv/.ready: pyproject.toml .ci/setup.sh .ci/constraints.txt
	.ci/setup.sh
	touch $@

.venv/.ready-test: pyproject.toml .ci/setup.sh .ci/constraints.txt
	.ci/setup.sh test
	touch $@ .venv/.ready

.venv-vllm/.ready: pyproject.toml .ci/setup-vllm.sh .ci/constraints-vllm.txt
	.ci/setup-vllm.sh
	touch $@
