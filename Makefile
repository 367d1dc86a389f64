# The words that run everything, for people and for CI alike. All of it happens in .venv, whatever else is active.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
unexport PYTHONPATH PYTHONHOME

.DEFAULT_GOAL := help
.PHONY: help eval test test-long check format clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

eval: $(VENV)/.cpu ## the main job: vnet-battery on all sixteen domains, tables and panels in runs/eval
	$(BIN)/segbench eval --zoo vnet-battery --domain all --out runs/eval $(ARGS)

# One OpenMP thread a worker: several workers with as many threads as cores would wait for each other.
test: $(VENV)/.dev ## all tests (ARGS="-k masks" for some)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

test-long: $(VENV)/.dev ## what takes minutes: a hundred kills, the memory of a large scan
	$(BIN)/pytest -m long $(ARGS)

check: $(VENV)/.dev ## style, format, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.dev ## rewrite the code as `make check` wants it
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

clean: ## remove .venv, caches and builds; runs/ stays
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: an installation is made again only where pyproject.toml or constraints.txt changed. [dev] holds [cpu].
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "segbench needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.cpu: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) --editable '.[cpu]'
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) --editable '.[dev]'
	@touch $(VENV)/.cpu $@
