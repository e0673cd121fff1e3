# make demo   set everything up in .venv and run the main job, in about two minutes: no R-Drop, no page of mistakes
# make test   pass the tests, two files of them at a time (WORKERS=1 for a machine of one core)
# make lint   ruff and mypy
# make browser-test   try the page of mistakes in Chromium, which is installed already or given by CHROMIUM=path
# make bench  the benchmarks of speed, one after another (half an hour or more), and docs/benchmarks.md from them
# make gpu    whether all is right on a GPU, and how fast (five minutes); IDS=FOLDER takes token ids that are there
#
# PYTHON=python3.12 chooses the interpreter; TORCH_INDEX=URL an index with another build of torch, which goes before the
# usual one (https://download.pytorch.org/whl/cpu is the small one, without CUDA).
PYTHON ?= python3
TORCH_INDEX ?=
WORKERS ?= 2
BIN := .venv/bin

# For bench: JRTE's pn.tsv (else it is downloaded), a tokenizer's folder (else a vocabulary is made), and .gz files of
# texts, without which, or without a tokenizer, tokenizing is not measured.
JRTE ?=
VOCABULARY ?=
TEXT ?=
INPUT = $(if $(JRTE),--data-path $(JRTE)) $(if $(VOCABULARY),--tokenizer $(VOCABULARY))

.PHONY: setup demo test lint browser-test bench gpu clean

setup: .venv/ready

.venv/ready: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt setuptools wheel
	$(BIN)/python -m pip install -q -c constraints.txt torch $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
	$(BIN)/python -m pip install -q -c constraints.txt --no-build-isolation -e '.[test]'
	mkdir -p .venv/types && ln -sfn ../.. .venv/types/tezukuri
	touch .venv/ready

demo: setup
	$(BIN)/python scripts/finetune.py --regularizer judge-votes --epochs 3 --batch-size 32 --lr 1.6e-4 --no-report

# A file's tests stay together, since they share what was made for the first of them.
test: setup
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

browser-test: setup
	$(BIN)/python -m pip install -q -c constraints.txt --no-build-isolation -e '.[browser]'
	$(BIN)/python -m pytest tests/browser

bench: setup
	$(BIN)/python -m pip install -q -c constraints.txt --no-build-isolation -e '.[bench]'
	$(if $(and $(TEXT),$(VOCABULARY)),$(BIN)/python benchmarks/tokenizing.py $(INPUT) --text $(TEXT))
	for kind in course tuned fp32; do $(BIN)/python benchmarks/train_step.py --against $$kind $(INPUT) || exit 1; done
	for kind in pipeline onnx onnx-int8; do $(BIN)/python benchmarks/bulk.py --against $$kind $(INPUT) || exit 1; done
	for precision in fp32 bf16; do $(BIN)/python benchmarks/vectors.py --precision $$precision \
	    $(if $(JRTE),--data-path $(JRTE)) || exit 1; done
	$(BIN)/python benchmarks/one_sentence.py
	$(BIN)/python benchmarks/growth.py $(INPUT)
	$(BIN)/python benchmarks/write_document.py

# On a machine without MeCab or JRTE: make the ids elsewhere by `gpu.py prepare`, and bring them.
IDS ?=
gpu: setup
	$(BIN)/python -m pip install -q -c constraints.txt --no-build-isolation -e '.[bench]'
	$(if $(IDS),,$(BIN)/python benchmarks/gpu.py prepare $(INPUT))
	$(BIN)/python benchmarks/gpu.py correct level2 bulk --ids $(or $(IDS),gpu-ids); status=$$?; \
	    $(BIN)/python benchmarks/write_document.py && exit $$status

clean:
	rm -rf .venv build tezukuri.egg-info
