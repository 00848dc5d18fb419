#!/usr/bin/env bash
# Fine-tunes Gemma 2 9B on two GPUs. Arguments are overrides of the recipe.
#   MODEL=embedded deploy/jobs/gemma_te.sh max_steps=20    the same run, small, on CPU workers
set -euo pipefail
cd "$(dirname "$0")/../.."
exec deploy/jobs/submit.sh gemma_te training test3-multi-gpu "model=${MODEL:-gemma-2-9b}" "$@" \
    --run @run --runs-dir @runs --adapters-dir "${ADAPTERS_DIR:-$PWD/adapters}"
