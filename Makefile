# Everything that people and CI call. `make run` opens for business, `make test` proves that it all works.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=
COVERED := tests/unit/quantstream/core tests/unit/quantstream/features tests/unit/quantstream/decode tests/unit/ml/evaluation \
	tests/unit/streaming/aggregate
.DEFAULT_GOAL := help
.PHONY: help setup jars browser run test bench chaos scale dst fuzz soak check coverage mutants versions lock clean images pods manifests promtool monitor audit docs pin rehearse

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  Settings: QUANTSTREAM_PYTHON=python3.12 chooses the Python, ARGS='…' is handed on to run and test."

setup: $(STAMP) ## Make the virtual environment with the locked packages

$(STAMP): requirements.txt pyproject.toml infra/setup.sh
	@infra/setup.sh $(VENV)
	@touch $@

jars: $(STAMP) ## Fetch the broker's jars, once
	@$(BIN)/python -m infra.embedded.jars

browser: $(STAMP) ## Find or install Chromium for the browser tests
	@infra/browser.sh $(VENV)

promtool: ## Find or fetch promtool, which evaluates the alert rules
	@infra/monitor/promtool.sh

run: jars ## Start everything: dashboard, Airflow, MLflow; Ctrl-C stops it
	@exec $(BIN)/quantstream up $(ARGS)

test: jars browser promtool ## Run every test, the browser's included
	@exec $(BIN)/python -m pytest -n 4 --dist loadscope --durations=25 $(ARGS)

check: $(STAMP) ## The fast part: format, lint, strict types, import contracts, unit tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -n 4 -m "not broker and not stack and not browser and not slow" $(ARGS)

coverage: $(STAMP) ## Lines and branches of the pure parts that unit tests reach, loops as Python; fails where it is less than 95 %
	@rm -rf build/coverage*; mkdir -p build
	@NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest --cov -q -n 2 -m "not broker" $(COVERED) $(ARGS)
	@for part in core features decode; do $(BIN)/coverage report --include "quantstream/$$part/*" || exit 1; done
	@$(BIN)/coverage report --include "ml/evaluation/*"

mutants: $(STAMP) ## Change the core in a thousand small ways; its tests must notice: docs/MUTANTS.md (an hour; ARGS='*trade_ids*' for some)
	@infra/mutants.sh $(VENV) $(ARGS)

versions: ## `make check` on every Python that README names, each in an environment of its own under build/
	@infra/versions.sh $(ARGS)

bench: jars ## Measure beside floors and peers, and write bench/RESULTS.md
	@exec $(BIN)/python -m bench $(ARGS)

chaos: jars ## Kill, pause and double every process for minutes, with all around them failing; nothing may be lost, repeated or wrong
	@exec $(BIN)/python -m tests.chaos $(ARGS)

scale: jars ## Ten minutes of 2,000 symbols through the whole path, then every trade, candle and score compared with the exchange
	@exec $(BIN)/python -m tests.chaos.scale $(ARGS)

dst: $(STAMP) ## Ten thousand worlds from seeds: the stages over a model of broker, lake and exchange, on virtual time
	@exec $(BIN)/python -m tests.dst $(or $(ARGS),--seeds 10000)

fuzz: $(STAMP) ## A hundred thousand hostile inputs for every parser, under a memory limit
	@exec $(BIN)/python -m tests.fuzz $(ARGS)

soak: jars ## Half an hour at 5,000 trades a second: memory, lag and delays; ARGS=--replicas lets replicas come and go
	@exec $(BIN)/python -m bench.soak $(ARGS)

images: ## Build the images streaming and dashboard without a daemon; ROLES='…' for others
	@infra/docker/tools.sh
	@infra/docker/build.sh $(ROLES)

pin: ## Ask the registries which content each image of others has: infra/docker/images.lock
	@infra/docker/pin.sh

rehearse: images ## Publish the built images to a registry of this machine: SBOM, signature, what verifies and what is refused (ROLES='…')
	@infra/docker/rehearse.sh $(or $(ROLES),streaming dashboard)

pods: $(STAMP) jars ## Build all images; run the whole local overlay under podman: start, training, a score, a kill, backups
	@infra/docker/tools.sh iptables catatonit
	@infra/docker/build.sh streaming scoring mlflow dashboard airflow
	@QUANTSTREAM_PODS=1 $(BIN)/python -m pytest -q -s tests/infra/pods

monitor: $(STAMP) promtool infra/monitor/quantstream-monitor ## Build the monitoring utility of its parts; prove it over recorded clusters, and the alert rules
	@exec $(BIN)/python -m pytest -q tests/monitor $(ARGS)

infra/monitor/quantstream-monitor: infra/monitor/build $(wildcard infra/monitor/parts/*.bash) $(wildcard infra/monitor/awk/*.awk)
	@infra/monitor/build

audit: $(STAMP) ## Known vulnerabilities of the locked packages; what the product consists of, in build/sbom.json
	@infra/audit.sh $(VENV)

docs: $(STAMP) ## Build the documentation site with strict links into build/docs/site: pages, reference, topics (AsyncAPI), llms.txt
	@infra/docs.sh $(VENV)

manifests: $(STAMP) ## Check the cluster's manifests, also with the real kubectl against an API and the real object store (built by Go)
	@$(BIN)/python -m pytest -q tests/infra/test_manifests.py tests/infra/test_manifest_faults.py tests/infra/test_images.py \
		tests/infra/test_rendered.py tests/infra/test_container_environment.py tests/infra/cluster tests/infra/rights

lock: $(STAMP) ## Compile requirements.txt and the broker's jars anew
	@uv=$$(command -v uv || echo $(VENV)/uv/bin/uv); \
	$$uv pip compile --universal --python-version 3.11 --all-extras --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' --upgrade --annotation-style line \
		--output-file requirements.txt pyproject.toml; \
	$$uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' --upgrade --annotation-style line \
		--group pyproject.toml:docs --output-file docs/requirements.txt; \
	infra/docker/lock.sh "$$uv"
	$(BIN)/python -m infra.embedded.jars --lock

clean: ## Remove the virtual environment and caches; stored data stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
