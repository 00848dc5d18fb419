#!/usr/bin/env bash
# Installs Python packages into .venv with the uv that requirements.lock names; arguments as for `uv pip install`.
set -euo pipefail
cd "$(dirname "$0")/.."

sed -n '/^uv==/,/^[^ ]/{/^uv==/p;/^ /p}' requirements.lock > .venv/uv.lock
.venv/bin/python -m pip install --quiet --require-hashes --only-binary :all: -r .venv/uv.lock

# uv brings its own certificates and ignores pip's settings: trust the system's, keep the user's mirror.
export UV_SYSTEM_CERTS=1 UV_HTTP_TIMEOUT=300
[ -z "${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}"
# Compiled once and here, not by every process of Ray, each for itself, where the environment forbids to keep it.
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-build --compile-bytecode "$@"
