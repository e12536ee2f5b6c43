# Every target first installs salvit into $(VENV), if it is missing or older than pyproject.toml.
#   make demo QUICK=1              a short run to see that it works
#   make osie ROOT=../OSIE         ROOT is a clone of OSIE's repository; or set SALVIT_OSIE_ROOT
#   make sweep-arch -j2 ROOT=../tiny-imagenet-200     rows side by side; DATA=PopOutDataModule needs no ROOT
#   make table1 DATA=osie ROOT=../OSIE VITS=salvit_tiny ROWS="salvit_tiny/rollout salvit_tiny/raw_attention"
#   make sweep-k CONFIG=experiments/osie.yaml KS="8 32" ROOT=../OSIE
VENV ?= .venv
PYTHON ?= python3
ARGS ?=
RUNS ?= runs
CONFIG ?= experiments/demo.yaml
KS ?=
GPUS ?= $(shell nvidia-smi --list-gpus 2>/dev/null | wc -l)

INSTALLED := $(VENV)/.installed
SALVIT := $(VENV)/bin/salvit
# Without Lightning's table of test scores, which repeats ours.
TABLE_ONLY := --verbose false
REPORT := $(SALVIT) report

DEMO := --config experiments/demo.yaml --runs $(RUNS)
ifdef QUICK
DEMO += --trainer.log_every_n_steps 1 --data.train_size 128 --data.val_size 64 --data.test_size 64 --trainer.max_epochs 2
endif

# Training on a CPU is faster if glibc keeps freed buffers; otherwise most of the time goes into page faults. 32 MiB is the
# largest threshold that glibc accepts.
export MALLOC_MMAP_THRESHOLD_ ?= 33554432
export MALLOC_TRIM_THRESHOLD_ ?= 1073741824

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-browser lint docs notebooks bench backbone osie sweep-k sweep-arch salient-study methods clean

include experiments/tables/tables.mk

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## make a virtual environment with salvit and the packages for tests

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --editable '.[dev]'
	touch $@

# One thread: the demo's tensors are too small for more, and the scores do not depend on the number of cores. A second core
# generates displays.
demo: export OMP_NUM_THREADS ?= 1
# Maps of its own: those that other runs have kept may differ in their last bits, and the scores in the third digit.
demo: export SALVIT_CACHE := $(RUNS)/demo/cache
demo: $(INSTALLED) ## fit, test and report on generated displays (3 to 7 minutes; QUICK=1: a short run)
	rm -rf $(RUNS)/demo
	$(call fit_and_test,$(DEMO),$(TABLE_ONLY))
	$(call fit_and_test,$(DEMO) --name demo/salient_attention --model.extractor salient_attention,$(TABLE_ONLY))
	$(REPORT) $(RUNS)/demo --title 'salvit demo: does a ViT look where people look?'

test: $(INSTALLED) ## run the tests (minutes)
	$(VENV)/bin/python -m pytest --numprocesses 2 --dist worksteal

test-slow: $(INSTALLED) ## run the long tests
	$(VENV)/bin/python -m pytest -m slow

test-browser: $(INSTALLED) ## test the page of a report in Chromium, which is skipped where there is none
	$(VENV)/bin/python -m pytest -m browser

lint: $(INSTALLED) ## check style, format and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

docs: $(INSTALLED) ## write the documentation as a site, build/site/index.html; a broken link is an error
	$(VENV)/bin/python -m pip install --quiet --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build

# The pictures of explain.ipynb are of the ViT in SALVIT_NOTEBOOK_WEIGHTS, if that is set.
notebooks: export OMP_NUM_THREADS ?= 1
notebooks: $(INSTALLED) ## run docs/notebooks again; ROOT=folder of OSIE, or set SALVIT_OSIE_ROOT (half an hour)
	$(VENV)/bin/python -m pip install --quiet --editable '.[docs]'
	rm -rf docs/notebooks/runs
	SALVIT_OSIE_ROOT="$(abspath $(or $(ROOT),$(SALVIT_OSIE_ROOT)))" PATH="$(abspath $(VENV))/bin:$$PATH" $(VENV)/bin/jupyter nbconvert \
	  --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False docs/notebooks/*.ipynb

bench: export OMP_NUM_THREADS ?= 1
bench: $(INSTALLED) ## measure costs beside other packages, into docs/performance.md (half an hour; ARGS="--device cuda")
	$(VENV)/bin/python -m pip install --quiet --editable '.[bench]'
	$(VENV)/bin/python -m benchmarks $(ARGS)

backbone: $(INSTALLED) ## train salvit_tiny again (overwrites salvit/weights)
	$(call fit_and_test,--config experiments/backbone.yaml --runs $(RUNS) $(ARGS))

osie: $(INSTALLED) ## fit and test on OSIE; ROOT=folder, or set SALVIT_OSIE_ROOT
	$(call fit_and_test,--config experiments/osie.yaml --runs $(RUNS) $(if $(ROOT),--data.root $(ROOT)) $(ARGS),$(TABLE_ONLY))
	$(REPORT) $(RUNS)/osie --title 'salvit on OSIE'

# The values of k are in experiments/sweeps/k.yaml, unless KS has others.
sweep-k: export OMP_NUM_THREADS ?= 1
sweep-k: $(INSTALLED) ## fit and test with several numbers of salient locations (Table 3); CONFIG=, KS="8 16", ROOT=, ARGS=
	$(SALVIT) sweep experiments/sweeps/k.yaml --config $(CONFIG) $(KS:%=--model.extractor salient_attention:k=%) \
	  --runs $(RUNS) $(if $(ROOT),--data.root $(ROOT)) $(ARGS)
	$(REPORT) $(RUNS)/sweep-k --title 'salvit: number of salient locations'

# A row and seed are finished when $(ARCH)/poster/ROW/seedN/tested is there, and are then skipped: after an interrupt, type
# the command again. Other ARGS make other results: give them other RUNS.
ARCH_DATA = $(or $(DATA),TinyImageNetDataModule)
ARCH = $(RUNS)/sweep-arch/$(ARCH_DATA)
ARCH_ROWS = $(or $(ROWS),$(filter-out base,$(patsubst experiments/poster/%.yaml,%,$(wildcard experiments/poster/*.yaml))))

sweep-arch: export OMP_NUM_THREADS ?= 1
sweep-arch: $(foreach seed,$(or $(SEEDS),0 1 2),$(ARCH_ROWS:%=$(ARCH)/poster/%/seed$(seed)/tested)) ## the poster's ViTs from scratch; DATA=, ROOT=, ROWS=, SEEDS="0 1 2", ARGS= (2 hours)
	$(VENV)/bin/python -m salvit.report.poster $(ARCH)

$(ARCH)/poster/%/tested: | $(INSTALLED)
	$(call own_gpu,$*) $(call fit_and_test,$(call row_options,$(patsubst %/,%,$(dir $*)),$(patsubst seed%,%,$(notdir $*))),$(TABLE_ONLY))
	touch $@

salient-study: export OMP_NUM_THREADS ?= 1
salient-study: $(INSTALLED) ## readings of salient attention on OSIE as published; ROOT=, ARGS="--weights FILE" (hours; --all-ks 8 makes it shorter)
	$(VENV)/bin/python -m benchmarks.salient_study $(if $(ROOT),--root $(ROOT)) --out $(RUNS)/salient-study $(ARGS)

methods: $(INSTALLED) ## write docs/methods.md again: which method works on which family of models
	$(VENV)/bin/python -m salvit.report.methods docs/methods.md

clean: ## remove the virtual environment and caches, but no runs
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis

# $(1): row; $(2): seed.
define row_options
--config experiments/poster/base.yaml --config experiments/poster/$(1).yaml --seed_everything $(2) --runs $(ARCH) \
  --data $(ARCH_DATA) $(if $(ROOT),--data.root $(ROOT)) $(ARGS)
endef

# $(1): name of a job. Where there are several GPUs, each job gets one.
own_gpu = $(if $(filter-out 0 1,$(GPUS)),export CUDA_VISIBLE_DEVICES=$$(( $$(echo $(1) | cksum | cut -d' ' -f1) % $(GPUS) ));)

# $(1): options of fit and test; $(2): options of test only.
define fit_and_test
$(SALVIT) fit $(1) && $(SALVIT) test $(1) $(2) --ckpt_path last
endef
