# Two commands do everything on a fresh machine with Python 3.11 or later: `make demo`, `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Folder of the raw data sets (docs/results.md) for the benchmarks that need one.
DATA ?=

.PHONY: demo test quick lint format docs bench check-all check-oldest check-newest clean

demo: $(VENV)/.core
	$(BIN)/taxonet demo --out runs/demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest --numprocesses auto

quick: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not slow and not real_data"

lint: $(VENV)/.dev
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

docs: $(VENV)/.docs
	$(BIN)/mkdocs build --strict

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.flora_difficulty
	$(if $(DATA),,@echo "With DATA=folder, speed over real trees is measured as well.")
	$(if $(DATA),for what in taxonomy diffusion operating_curve hierarchical_loss; do \
	  $(BIN)/python -m benchmarks.$${what}_speed --data $(DATA) || exit 1; done)

check-all: lint test docs check-oldest check-newest
	$(BIN)/python -m tests.mutation

# The lowest versions that pyproject.toml allows, and the highest: both pass what is quick. Old
# versions of other packages may warn of what newer ones have mended.
check-oldest check-newest: check-%: $(VENV)/.dev
	$(PYTHON) -m venv $(VENV)/$*
	$(BIN)/uv pip install --quiet --python $(VENV)/$* --resolution $(RESOLUTION_$*) --editable '.[clip,dev,track]'
	$(VENV)/$*/bin/python -m pytest -m "not slow and not real_data" -W ignore::DeprecationWarning --numprocesses auto

RESOLUTION_oldest := lowest-direct
RESOLUTION_newest := highest

clean:
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Each stamp is younger than what decides its packages, so that a changed pin installs again.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "taxonet needs Python 3.11 or later; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[clip,dev,track]'
	@touch $@

$(VENV)/.docs: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $@
