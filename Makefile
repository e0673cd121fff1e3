# make demo   set everything up in .venv and run the main job
# make test   pass the tests
# make lint   ruff and mypy
#
# PYTHON=python3.12 chooses the interpreter; TORCH_INDEX=URL an index with another build of torch, which goes before the
# usual one (https://download.pytorch.org/whl/cpu is the small one, without CUDA).
PYTHON ?= python3
TORCH_INDEX ?=
BIN := .venv/bin

.PHONY: setup demo test lint clean

setup: .venv/ready

.venv/ready: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt setuptools wheel
	$(BIN)/python -m pip install -q -c constraints.txt torch $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
	$(BIN)/python -m pip install -q -c constraints.txt --no-build-isolation -e '.[test]'
	mkdir -p .venv/types && ln -sfn ../.. .venv/types/tezukuri
	touch .venv/ready

demo: setup
	$(BIN)/python scripts/finetune.py

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

clean:
	rm -rf .venv build tezukuri.egg-info
