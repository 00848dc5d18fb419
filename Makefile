# Everything a contributor runs. `make` alone lists the targets.
PORT ?= 8000
PYTHON := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench lock

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: ## Make .venv from requirements.lock and check the system libraries
	@deploy/setup.sh $(SETUP_FLAGS)

demo: setup ## Serve the HTTP API and the web page on http://127.0.0.1:8000 (PORT=8123 for another port)
	@exec $(PYTHON) -m services --port $(PORT)

test: SETUP_FLAGS := --test
test: setup ## Run every test
	@$(PYTHON) -m pytest

lint: setup ## Check style, types, import contracts and shell scripts
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy
	@.venv/bin/lint-imports --no-cache
	@if command -v shellcheck > /dev/null; then shellcheck .ci/run deploy/*.sh deploy/jobs/*.sh; \
	  else echo "shellcheck is not installed: the shell scripts were not checked"; fi

format: setup ## Rewrite the code in the project's style
	@$(PYTHON) -m ruff check --fix
	@$(PYTHON) -m ruff format

bench: setup ## Run every script in benchmarks/; two compare with TRL: pip install -e '.[bench]'
	@failed=; for script in benchmarks/*.py; do \
	  PYTHONPATH=".:$$PYTHONPATH" $(PYTHON) "$$script" || failed="$$failed $$script"; done; \
	  [ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

lock: setup ## Resolve requirements.lock anew, with the newest versions
	@$(PYTHON) -m uv pip compile pyproject.toml --extra dev --extra renderers --output-file requirements.lock \
	  --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --custom-compile-command "make lock" > /dev/null
