# Two commands matter: `make demo` and `make test`. Both do all the set-up they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help venv demo image bench proto check test test-unit test-integration test-e2e lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

# The stamp depends on the locks, so that a changed pin installs anew and a second run costs nothing.
$(VENV)/.stamp: requirements-dev.lock pyproject.toml deploy/bootstrap.sh
	@deploy/bootstrap.sh $(PYTHON) $(VENV)
	@touch $@

venv: $(VENV)/.stamp ## the Python environment, pinned by version and hash

demo: venv ## bring everything up and run a real Argo workflow on the virtual nodes; it stays up
	@$(BIN)/python -m provider.cluster.demo

image: venv ## the provider's own image (Dockerfile), on a base made from Debian packages
	@$(BIN)/python -m provider.cluster.provider_image

proto: venv ## write provider/rpc/gen from proto/
	@$(BIN)/python proto/generate.py

check: venv ## lint, types, architecture rules, generated code
	@echo "==> ruff"; $(BIN)/ruff check . && $(BIN)/ruff format --check .
	@echo "==> mypy"; $(BIN)/mypy
	@echo "==> import-linter"; $(BIN)/lint-imports --no-cache
	@echo "==> generated code"; $(BIN)/python proto/generate.py --check

test: test-unit test-integration test-e2e ## every test there is, set-up included

test-unit: venv ## no engine, no cluster
	@echo "==> unit, contract and simulation tests"
	@$(BIN)/pytest -q -m "not integration and not e2e" -n 2

test-integration: venv ## real parts: Docker engine, API server
	@$(BIN)/python -m provider.cluster.prepare
	@echo "==> integration tests"
	@$(BIN)/pytest -q -m "integration and not e2e"

test-e2e: venv ## the whole system: upstream's example workflows, kubectl and argo on virtual nodes
	@$(BIN)/python -m provider.cluster.prepare
	@echo "==> end-to-end tests"
	@$(BIN)/pytest -q -m e2e tests/e2e

bench: venv ## measure against raw Docker calls and a stock kubelet, interleaved, and write docs/performance.md; ROUNDS, PODS, SIMULATED; STOCK=0: without the kubelet
	@$(BIN)/python -m tests.bench --write $(if $(filter 0,$(STOCK)),,--stock) --rounds $(or $(ROUNDS),3) --pods $(or $(PODS),60) --simulated $(or $(SIMULATED),1000)

lock: venv ## pin the newest versions that pyproject.toml allows
	@$(BIN)/pip install -q uv
	@$(BIN)/uv pip compile -q pyproject.toml --generate-hashes --no-header --no-emit-index-url --universal --python-version 3.11 -o requirements.lock
	@$(BIN)/uv pip compile -q pyproject.toml --group dev --generate-hashes --no-header --no-emit-index-url --universal --python-version 3.11 -o requirements-dev.lock
	@$(BIN)/uv pip compile -q --group pyproject.toml:build -c requirements-dev.lock --generate-hashes --no-header --no-emit-index-url --universal --python-version 3.11 -o requirements-build.lock

clean: ## remove what the tools left in this tree
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
