# Every target sets up what it needs, in .venv, from the locks. PYTHON=python3.12 make … takes another interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# pip would compile with one core, and the tests inside of packages too: as long again as it takes to install them.
PIP := $(BIN)/python -m pip install --disable-pip-version-check --no-compile
COMPILE := $(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib bench
RESULTS ?= results/local
BASE ?= results/reference/mnist_rows
# make gpu: the backends, each in an environment of its own ($(VENV)-gpu-jax, …), and where the observations go
GPU_BACKENDS ?= jax torch tensorflow
GPU_RESULTS ?= results/reference/gpu
# make gpu-offline: the folder to make
GPU_KIT ?= gpu-kit
# arguments for the command behind a target: make bench ARGS="--set seeds=0..9"
ARGS ?=

.PHONY: help setup extras bench quick table report docs gate gpu gpu-offline test lint clean
.DEFAULT_GOAL := help

help:
	@echo 'make bench   measure SimpleRNN, LSTM and GRU on MNIST by the whole protocol, and print the table (about 25 minutes on 2 cores)'
	@echo 'make quick   the same on the 5,000 digits that come with the program (about 3 minutes)'
	@echo 'make table   the comparison table in README.md, again from the committed results'
	@echo 'make gate    compare what was measured with BASE, and end with 1 where something got worse'
	@echo 'make gpu     what cuDNN gives on a GPU, by cell and backend: the suite gpu on JAX, torch and TensorFlow (hours)'
	@echo 'make gpu-offline  a folder that does so on a machine without a network, in eight minutes: GPU_KIT=gpu-kit'
	@echo 'make report  the page in reports/, from the committed results'
	@echo 'make docs    the documentation site, in site/'
	@echo 'make test    the tests'
	@echo 'make lint    style and types'
	@echo 'make setup   only set up .venv'
	@echo 'make extras  set up what is optional too: JAX, torch, ONNX Runtime, LiteRT, object stores, Ray'

setup: $(VENV)/.base

extras: $(VENV)/.extras

bench: $(VENV)/.base
	@$(BIN)/bench run mnist_rows --interleave 10 --results $(RESULTS) $(ARGS)

quick: $(VENV)/.base
	@$(BIN)/bench run quick --interleave 0.65 --results $(RESULTS) $(ARGS)

table: $(VENV)/.base
	@$(BIN)/bench table $(BASE) --write README.md

report: $(VENV)/.base
	@$(BIN)/bench report $(BASE) $(ARGS)

docs: $(VENV)/.dev
	@$(BIN)/python -m scripts.docs_pages
	@$(BIN)/python -m mkdocs build --strict --quiet
	@echo 'site/index.html'

gate: $(VENV)/.base
	@$(BIN)/bench gate $(BASE) $(RESULTS) $(ARGS)

# One backend after another into one store; one that cannot run here is said, and is no reason to leave out the others.
gpu: $(GPU_BACKENDS:%=$(VENV)-gpu-%/.ready)
	@for backend in $(GPU_BACKENDS); do \
		$(VENV)-gpu-$$backend/bin/bench run gpu --set backends=$$backend --results $(GPU_RESULTS) $(ARGS) || \
			{ code=$$?; echo "make gpu: $$backend ended with $$code" >&2; [ $$code -ne 130 ] || exit 130; }; \
	done
	@$(firstword $(GPU_BACKENDS:%=$(VENV)-gpu-%))/bin/bench table $(GPU_RESULTS)

gpu-offline: $(VENV)/.base
	@$(BIN)/bench gpu-kit $(GPU_KIT) $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(VENV)-gpu-* .mypy_cache .pytest_cache .ruff_cache .coverage

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "bench needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Name another: PYTHON=python3.12 make …" >&2; exit 2; }
	@echo 'setting up $(VENV) (TensorFlow is some 600 MB to download)'
	@$(PYTHON) -m venv $(VENV)

# --no-deps: the locks are complete, and a resolver would look at newer releases of what a package asks for with an extra.
# --no-build-isolation: setuptools is in the lock, so nothing that isn't pinned is fetched.
$(VENV)/.base: locks/base.txt pyproject.toml | $(VENV)/bin/python
	@$(PIP) --no-deps --require-hashes -r locks/base.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@echo 'compiling what was installed'
	@$(COMPILE) || true
	@touch $@

$(VENV)/.dev: locks/dev.txt $(VENV)/.base
	@$(PIP) --no-deps --require-hashes -r locks/dev.txt
	@$(COMPILE) || true
	@touch $@

$(VENV)/.extras: locks/extras.txt $(VENV)/.base
	@$(PIP) -c locks/extras.txt jax torch onnx onnxruntime tf2onnx ai-edge-litert obstore ray nvidia-ml-py
	@$(COMPILE) || true
	@touch $@

# Each backend wants CUDA libraries of another version, so none shares its environment with another's: the base, whose
# TensorFlow has no CUDA libraries and sees no GPU, and the one backend with its own.
GPU_jax := 'jax[cuda13]' nvidia-ml-py
GPU_torch := torch nvidia-ml-py
GPU_tensorflow := 'tensorflow[and-cuda]' nvidia-ml-py

$(VENV)-gpu-%/.ready: locks/base.txt locks/extras.txt pyproject.toml
	@$(PYTHON) -m venv $(VENV)-gpu-$*
	@$(VENV)-gpu-$*/bin/python -m pip install --quiet --no-deps --require-hashes -r locks/base.txt
	@$(VENV)-gpu-$*/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@$(VENV)-gpu-$*/bin/python -m pip install --quiet -c locks/extras.txt $(GPU_$*)
	@touch $@
