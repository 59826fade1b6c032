# Needs python3 (3.11 or newer), make and git; everything else goes into .venv.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
READY_TEST := $(VENV)/.ready-test
PORT ?= 8000
ARGS ?=
SCHEDULER ?=
STRICT ?=

.PHONY: help setup book html pdf zoo test bench gpu serve sync lint clean

help: ## This list
	@grep -hE '^[a-zA-Z%_-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-zA-Z%_-]+):.*## /\1|/' | sed 's/^chapter-%/chapter-N/' | awk -F'|' '{printf "  make %-11s %s\n", $$1, $$2}'

setup: $(READY) ## Create .venv and install what the book needs

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "error: $(PYTHON) is missing or older than 3.11; try: make setup PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

# What the tests need and the book does not.
$(READY_TEST): requirements-dev.txt $(READY)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

book: $(READY) ## Run every chapter, then build the HTML
	$(RUN) -m helpers.run all
	$(RUN) -m helpers.report readme
	$(MAKE) html

html: $(READY) ## Build _build/html/index.html from the stored outputs (STRICT=1: warnings are errors)
	$(VENV)/bin/jupyter-book build . --toc book/_toc.yml $(if $(STRICT),--all -n -W --keep-going)
	@touch _build/html/.nojekyll

pdf: html $(READY_TEST) ## Print the built pages into _build/book.pdf (needs Chromium or Chrome)
	$(RUN) -m helpers.report pdf

chapter-%: $(READY) ## Run chapter N, e.g. make chapter-2 ARGS="-p seed 1"
	$(RUN) -m helpers.run $* $(ARGS)

zoo: $(READY) ## Train the models that data/zoo lacks (resumable; SCHEDULER=tcp://host:8786: on a Dask cluster)
	$(RUN) -m helpers.zoo train $(if $(SCHEDULER),--scheduler $(SCHEDULER)) $(ARGS)

test: $(READY_TEST) ## Unit tests, then every chapter again, compared with its stored outputs
	$(RUN) -m pytest tests -n auto --dist loadfile --no-loadscope-reorder
	$(RUN) -m pytest --nbval notebooks

bench: $(READY_TEST) ## Measure what is meant to be fast beside its peers, into data/results/bench.json
	$(RUN) -m tests.bench --out data/results/bench.json $(ARGS)

gpu: $(READY_TEST) ## Check samplers, closed forms and training on a CUDA GPU, and measure them
	$(RUN) -m tests.bench --device cuda --out data/results/bench-gpu.json $(ARGS)

serve: ## Serve the built book at http://localhost:8000 (PORT=...)
	$(PYTHON) -m http.server $(PORT) --directory _build/html

sync: $(READY) ## Copy the text of edited chapters into their notebooks, keeping outputs of unchanged cells
	for text in notebooks/[0-9][0-9]-*.md; do $(VENV)/bin/jupytext --quiet --to ipynb --update "$$text"; done

lint: $(READY) ## Check the style of the code (installs ruff)
	$(RUN) -m pip install --quiet --disable-pip-version-check 'ruff>=0.6'
	$(VENV)/bin/ruff check .

clean: ## Remove what a build makes; trained models, checkpoints, downloads and results stay
	rm -rf _build .pytest_cache .ruff_cache
