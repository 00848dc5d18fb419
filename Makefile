# Everything a contributor runs. `make` alone lists the targets.
PORT ?= 8000
PYTHON := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench job-llama-te job-gemma-te job-test-svg job-ext-capt job-caption job-results \
  lock lock-cpu image image-cpu sbom audit
JOBS := job-llama-te job-gemma-te job-test-svg job-ext-capt job-caption
IMAGE := svg-captioner:$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
CONTAINER ?= docker

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: ## Make .venv from requirements.lock and check the system libraries
	@deploy/setup.sh $(SETUP_FLAGS)

demo: setup ## Serve the HTTP API and the web page on http://127.0.0.1:8000 (PORT=8123 for another port)
	@exec $(PYTHON) -m services --port $(PORT)

test: SETUP_FLAGS := --test
test: setup ## Run every test
	@$(PYTHON) -m pytest --numprocesses 2 --no-loadscope-reorder

lint: setup ## Check style, types, import contracts and shell scripts
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy
	@.venv/bin/lint-imports --no-cache
	@if command -v shellcheck > /dev/null; then shellcheck .ci/run $$(git ls-files '*.sh' '*.sbatch'); \
	  else echo "shellcheck is not installed: the shell scripts were not checked"; fi

format: setup ## Rewrite the code in the project's style
	@$(PYTHON) -m ruff check --fix
	@$(PYTHON) -m ruff format

bench: setup ## Run every script in benchmarks/; two compare with TRL: pip install -e '.[bench]'
	@failed=; for script in benchmarks/*.py; do \
	  PYTHONPATH=".:$$PYTHONPATH" $(PYTHON) "$$script" || failed="$$failed $$script"; done; \
	  [ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

# Each takes RUNS_DIR=s3://bucket/runs, RUN=id to go on with a run, and ARGS for its command, such as
# job-llama-te ARGS=max_steps=20, job-test-svg ARGS="--samples 50", job-ext-capt ARGS="--limit 20".
job-llama-te: ## Fine-tune Llama 3.1 8B on the Ray at RAY_API_SERVER_ADDRESS (MODEL=embedded for a small run)
job-gemma-te: ## Fine-tune Gemma 2 9B there (MODEL=embedded)
job-test-svg: ## Compare SVG renderers there
job-ext-capt: ## Score BLIP, ViT-GPT2 and CogVLM there (SUITE=embedded)
job-caption: ## Caption files there (ARGS="/shared/drawings --workers 4")
$(JOBS): job-%: setup
	@deploy/jobs/$(subst -,_,$*).sh $(ARGS)

job-results: setup ## List the runs in RUNS_DIR, or show one (RUN=id)
	@$(PYTHON) deploy/jobs/runs.py $(if $(RUN),show $(RUN),list) $(ARGS)

lock: setup ## Resolve requirements.lock anew, with the newest versions
	@$(PYTHON) -m uv pip compile pyproject.toml --extra dev --extra renderers --output-file requirements.lock \
	  --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --custom-compile-command "make lock" > /dev/null

lock-cpu: setup ## Write requirements-cpu.lock: the same versions, with PyTorch's builds for CPUs only
	@cp requirements.lock requirements-cpu.lock
	@$(PYTHON) -m uv pip compile pyproject.toml --extra renderers --output-file requirements-cpu.lock \
	  --quiet --torch-backend cpu --python-version 3.11 --python-platform linux --generate-hashes --no-annotate \
	  --custom-compile-command "make lock-cpu" > /dev/null

image: ## Build the container image with CUDA (CONTAINER=podman for another builder)
	@$(CONTAINER) build --file deploy/Dockerfile --tag $(IMAGE) $(IMAGE_FLAGS) \
	  --build-arg VERSION=$(lastword $(subst :, ,$(IMAGE))) --build-arg REVISION="$$(git rev-parse HEAD)" .

image-cpu: IMAGE := $(IMAGE)-cpu
image-cpu: IMAGE_FLAGS += --build-arg LOCK=requirements-cpu.lock --build-arg UV_TORCH_BACKEND=cpu
image-cpu: image ## Build the image without CUDA, from the lock of `make lock-cpu`

sbom: setup ## Write build/sbom.cdx.json: the Python packages of the image, with hashes, in CycloneDX
	@mkdir -p build
	@$(PYTHON) -m uv pip compile pyproject.toml --extra renderers --constraint requirements.lock --generate-hashes \
	  --quiet --no-annotate --no-header --python-version 3.11 --python-platform linux --output-file build/image.lock \
	  > /dev/null
	@$(PYTHON) -W ignore -m cyclonedx_py requirements build/image.lock --pyproject pyproject.toml \
	  --mc-type application --output-reproducible --output-file build/sbom.cdx.json

audit: setup ## Ask for known vulnerabilities of what the lock installs (ARGS=--strict: all must be known)
	@$(PYTHON) deploy/audit.py $(ARGS)
