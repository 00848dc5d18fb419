#!/usr/bin/env bash
# Fine-tunes Llama 3.1 8B on two GPUs. Arguments are overrides of the recipe.
#   MODEL=embedded deploy/jobs/llama_te.sh max_steps=20    the same run, small, on CPU workers
set -euo pipefail
cd "$(dirname "$0")/../.."
exec deploy/jobs/submit.sh llama_te training test3-multi-gpu "model=${MODEL:-llama-3.1-8b}" "$@" \
    --run @run --runs-dir @runs --adapters-dir "${ADAPTERS_DIR:-$PWD/adapters}"
