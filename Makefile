# Every recipe runs in .venv, which `make setup` builds and keeps current; nothing else on the machine is needed first.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Without bytecode each process that imports TensorFlow or Airflow compiles it anew: more than half of the tests' CPU time.
unexport PYTHONDONTWRITEBYTECODE
MAKEFLAGS += --no-print-directory

VENV ?= .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# Extra words for pytest, e.g. `make test PYTEST_ARGS="-x tests/core"`.
PYTEST_ARGS ?=
UV_PIP_COMPILE := $(BIN)/uv pip compile pyproject.toml --all-extras --group dev \
	--override requirements/overrides.txt --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header

.PHONY: help setup lock page test test-fast test-page test-ui test-all lint lint-style lint-types lint-files lint-page format demo bench bench-judge bench-judge-full bench-lineage bench-page docs install-check clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 20

setup: ## Build .venv from the hashed requirements and install the Debian packages; quick when nothing changed
	@VENV=$(VENV) scripts/setup.sh

lock: setup ## Compile requirements/dev.txt again; give UPGRADE=1 to move to newer versions
	$(UV_PIP_COMPILE) $(if $(UPGRADE),--upgrade) -q -o requirements/dev.txt

# The real Airflow wants the machine for itself; everything else runs on both cores. Exit status 5: nothing was selected.
test: setup test-page ## All tests but those marked slow
	@$(PYTEST) -n 2 -m "not slow and not e2e and not ui" $(PYTEST_ARGS) || [ $$? -eq 5 ]
	@$(PYTEST) -m "(e2e or ui) and not slow" $(PYTEST_ARGS) || [ $$? -eq 5 ]

test-fast: setup ## Only tests that start no other process: no integration, no e2e
	@$(PYTEST) -n 2 -m "not slow and not integration and not e2e and not ui" $(PYTEST_ARGS)

test-page: setup ## The page's unit tests
	@VENV=$(VENV) scripts/page.sh test

test-ui: setup ## The page in a real browser against the real Airflow; screenshots in .cache/ui-shots
	@VENV=$(VENV) scripts/page.sh install
	@$(PYTEST) -m ui $(PYTEST_ARGS)

test-all: setup test-page ## All tests, the slow ones too
	@$(PYTEST) -n 2 -m "not e2e and not ui" $(PYTEST_ARGS) || [ $$? -eq 5 ]
	@$(PYTEST) -m "e2e or ui" $(PYTEST_ARGS) || [ $$? -eq 5 ]

lint: lint-style lint-types lint-files lint-page ## ruff, formatting, mypy --strict, tsc, the shell scripts' syntax and the docker files

lint-style: setup
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

lint-types: setup
	$(BIN)/python -m mypy

lint-files: setup
	bash -n .ci/run scripts/*.sh docker/*.sh
	$(BIN)/python scripts/check_docker.py

lint-page: setup
	@VENV=$(VENV) scripts/page.sh check

page: setup ## Build the page: its types from the API, and the bundle that the wheel carries
	@VENV=$(VENV) scripts/page.sh build

format: setup ## Let ruff rewrite what it can
	$(BIN)/python -m ruff check --fix-only .
	$(BIN)/python -m ruff format .

demo: setup ## Release good and bad models under real traffic; EXIT=1 ends by itself with the verdict as exit status
	@$(BIN)/python -m demo $(if $(filter-out 0,$(EXIT)),--exit)

bench: setup ## Measure the costs the design promises
	@$(BIN)/python -m benchmarks

bench-judge: setup ## Hold the judge to its promises, with few runs; not 0 when a goal fails
	@$(BIN)/python -m benchmarks.judge

bench-judge-full: setup ## The same with many runs on other seeds (SEED=2026); writes docs/judge_results.md, at most an hour
	@$(BIN)/python -m benchmarks.judge --profile full --seed $(or $(SEED),2026) --write docs

bench-lineage: setup ## Write ledgers of up to 1e5 versions and time questions to them; WRITE=docs keeps the results there
	@$(BIN)/python -m benchmarks.lineage $(if $(WRITE),--write $(WRITE))

bench-page: setup ## Time the page's API over 200 models and 1e5 versions; not 0 when an answer takes too long
	@$(BIN)/python -m benchmarks.page

docs: setup ## Check the documentation: links, and that every operator, sensor, setting and error is described
	$(BIN)/python scripts/check_docs.py

install-check: setup ## Build the wheel and install it with plain pip beside Airflow, in a fresh environment
	@VENV=$(VENV) scripts/check_wheel_install.sh

clean: ## Remove what builds and checks leave behind, not .venv
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
