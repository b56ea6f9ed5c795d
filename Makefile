# The project's chores. `make reproduce` and `make test` need nothing but Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install reproduce bench docs test lint clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## Create .venv and install actbench with the pinned versions

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "actbench needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

reproduce: $(INSTALLED)  ## Train, fine-tune and compare all activations at nano scale; report in runs/reproduce/
	$(BIN)/actbench study run recipes/studies/reproduce.yaml --jobs 2

BENCH := $(BIN)/actbench bench

bench: $(INSTALLED)  ## Measure what things cost; tables in docs/performance.md
	$(BENCH) activations --peers --in-model -o docs/performance.md -o benchmarks/activations.json
	$(BENCH) step --recipe recipes/nano/bert.yaml -o docs/performance.md -o benchmarks/step-bert-nano.json
	$(BENCH) step --recipe recipes/nano/gpt.yaml -o docs/performance.md -o benchmarks/step-gpt-nano.json
	$(BENCH) peers $(if $(GLUE),--glue $(GLUE)) -o docs/performance.md -o benchmarks/peers.json
	$(BENCH) growth -o docs/performance.md -o benchmarks/growth.json
	$(BENCH) tricks -o docs/performance.md -o benchmarks/tricks.json

docs: $(INSTALLED)  ## Write docs/activations.md and its figures from the registry
	$(BIN)/python -m actbench.report.catalogue docs

test: $(INSTALLED)  ## Run the tests
	$(BIN)/python -m pytest

lint: $(INSTALLED)  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:  ## Remove the virtual environment and caches; runs stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
