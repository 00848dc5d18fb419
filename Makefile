# Everything a contributor runs. `make` alone lists the targets.
PORT ?= 8000
PYTHON := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench lock

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: ## Make .venv from requirements.lock and check the system libraries
	@deploy/setup.sh

demo: setup ## Serve the HTTP API and the web page on http://127.0.0.1:$(PORT); Ctrl-C stops it
	@exec $(PYTHON) -m services --port $(PORT)

test: setup ## Run every test
	@deploy/setup.sh --browser
	@$(PYTHON) -m pytest

lint: setup ## Check style, types, import contracts and shell scripts
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy
	@$(PYTHON) -m importlinter
	@deploy/lint-shell.sh

format: setup ## Rewrite the code in the project's style
	@$(PYTHON) -m ruff check --fix
	@$(PYTHON) -m ruff format

bench: setup ## Run every script in benchmarks/
	@for script in benchmarks/*.py; do [ ! -e "$$script" ] || $(PYTHON) "$$script" || exit 1; done

lock: setup ## Resolve requirements.lock anew, newest versions
	@$(PYTHON) -m uv pip compile pyproject.toml --extra dev --extra renderers --output-file requirements.lock \
	  --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --custom-compile-command "make lock" --no-emit-index-url > /dev/null
