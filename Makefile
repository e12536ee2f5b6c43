# Every target installs into $(VENV) first where that is missing or older than pyproject.toml.
#   make demo QUICK=1              a smoke run of seconds
#   make osie ROOT=../data/osie    instead of setting SALVIT_SALICON_ROOT
#   make sweep-k CONFIG=experiments/osie.yaml KS="8 32" ARGS="--data.root ../data/osie"
VENV ?= .venv
PYTHON ?= python3
ARGS ?=
RUNS ?= runs
CONFIG ?= experiments/demo.yaml
KS ?= 4 8 16 32

INSTALLED := $(VENV)/.installed
SALVIT := $(VENV)/bin/salvit
# Lightning's own table of test scores would repeat ours.
TABLE_ONLY := --verbose false
REPORT := $(VENV)/bin/python -m salvit.report

DEMO := --config experiments/demo.yaml --trainer.logger.save_dir $(RUNS)/demo
ifdef QUICK
DEMO += --trainer.log_every_n_steps 1 --data.train_size 128 --data.val_size 64 --data.test_size 64 --trainer.max_epochs 2
endif

# glibc gives large buffers back to the system as soon as they are freed, and training on a CPU then spends most of
# its time on page faults: keep them. (32 MiB is the largest threshold that glibc takes.)
export MALLOC_MMAP_THRESHOLD_ ?= 33554432
export MALLOC_TRIM_THRESHOLD_ ?= 1073741824

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow lint bench backbone osie sweep-k salient-study methods clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## a virtual environment with salvit and what tests need

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --editable '.[dev]'
	touch $@

# The demo's tensors are too small to share between threads; a second core generates displays. One thread also gives the
# same scores on any number of cores.
demo: export OMP_NUM_THREADS ?= 1
demo: $(INSTALLED) ## fit, test and report on generated displays (3 to 7 minutes; QUICK=1: a smoke run)
	rm -rf $(RUNS)/demo
	$(call fit_and_test,$(DEMO) --trainer.logger.name raw_attention,$(RUNS)/demo/raw_attention/checkpoints,$(TABLE_ONLY))
	$(call fit_and_test,$(DEMO) --trainer.logger.name salient_attention --model.extractor SalientAttention,$(RUNS)/demo/salient_attention/checkpoints,$(TABLE_ONLY))
	$(REPORT) $(RUNS)/demo --title 'salvit demo: does a ViT look where people look?'

test: $(INSTALLED) ## the tests that take minutes in all
	$(VENV)/bin/python -m pytest

test-slow: $(INSTALLED) ## the long tests
	$(VENV)/bin/python -m pytest -m slow

lint: $(INSTALLED) ## style, format and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: export OMP_NUM_THREADS ?= 1
bench: $(INSTALLED) ## costs as ratios, beside peers, into docs/performance.md (half an hour; ARGS="--device cuda")
	$(VENV)/bin/python -m pip install --quiet --editable '.[bench]'
	$(VENV)/bin/python -m benchmarks $(ARGS)

backbone: $(INSTALLED) ## train the embedded ViT anew (overwrites salvit/weights)
	$(call fit_and_test,--config experiments/backbone.yaml $(ARGS),runs/backbone/checkpoints)

osie: $(INSTALLED) ## fit and test on OSIE; ROOT=folder, or set SALVIT_SALICON_ROOT
	$(call fit_and_test,--config experiments/osie.yaml $(if $(ROOT),--data.root $(ROOT)) $(ARGS),runs/osie/version_*/checkpoints,$(TABLE_ONLY))
	$(REPORT) runs/osie --title 'salvit on OSIE'

sweep-k: $(INSTALLED) ## Table 3's ablation: how many salient locations; CONFIG=, KS="8 16", ARGS=
	set -e; for k in $(KS); do \
	  $(call fit_and_test,--config $(CONFIG) --config experiments/sweeps/k.yaml --model.extractor.k $$k $(ARGS),runs/sweep-k/k=$$k/checkpoints,$(TABLE_ONLY)); \
	done
	$(REPORT) runs/sweep-k --title 'salvit: number of salient locations'

salient-study: export OMP_NUM_THREADS ?= 1
salient-study: $(INSTALLED) ## readings of salient attention on OSIE as published; ROOT=folder, ARGS="--weights FILE" (an hour)
	$(VENV)/bin/python -m benchmarks.salient_study --root $(ROOT) --out $(RUNS)/salient-study $(ARGS)

methods: $(INSTALLED) ## write docs/methods.md anew: which method works on which family of models
	$(VENV)/bin/python -m salvit.report.methods docs/methods.md

clean: ## remove the virtual environment and caches, not the runs
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis

# $(1): options of both stages; $(2): folder of the checkpoint, the newest of those that match; $(3): options of test.
define fit_and_test
$(SALVIT) fit $(1) && $(SALVIT) test $(1) $(3) --ckpt_path "$$(ls -t $(2)/last.ckpt | head -n 1)"
endef
