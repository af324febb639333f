# Everything that people and CI call. `make run` opens for business, `make test` proves that it all works.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=
.DEFAULT_GOAL := help
.PHONY: help setup jars browser run test check lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  Settings: QUANTSTREAM_PYTHON=python3.12 chooses the Python, ARGS='…' is handed on to run and test."

setup: $(STAMP) ## Make the virtual environment with the locked packages

$(STAMP): requirements.txt pyproject.toml infra/local/setup.sh
	@infra/local/setup.sh $(VENV)
	@touch $@

jars: $(STAMP) ## Fetch the broker's jars, once
	@$(BIN)/python -m infra.local.jars

browser: $(STAMP) ## Find or install Chromium for the browser tests
	@infra/local/browser.sh $(VENV)

run: jars ## Start everything: dashboard, Airflow, MLflow; Ctrl-C stops it
	@exec $(BIN)/quantstream up $(ARGS)

test: jars browser ## Run every test, the browser's included
	@exec $(BIN)/python -m pytest $(ARGS)

check: $(STAMP) ## The fast part: format, lint, strict types, import contracts, unit tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -n 4 -m "not broker and not stack and not browser and not slow" $(ARGS)

lock: $(STAMP) ## Compile requirements.txt and the broker's jars anew
	@uv=$$(command -v uv || echo $(VENV)/uv/bin/uv); \
	$$uv pip compile --universal --python-version 3.11 --all-extras --no-emit-index-url --custom-compile-command 'make lock' --upgrade --annotation-style line \
		--output-file requirements.txt pyproject.toml
	$(BIN)/python -m infra.local.jars --lock

clean: ## Remove the virtual environment and caches; stored data stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
