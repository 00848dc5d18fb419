#!/usr/bin/env bash
# Scores captioners that look at pixels (BLIP, ViT-GPT2, CogVLM) on a split, for at most 24 hours.
#   SUITE=embedded deploy/jobs/ext_capt.sh    the embedded model and the floors instead, on two CPU cores
set -euo pipefail
cd "$(dirname "$0")/../.."
exec deploy/jobs/submit.sh ext_capt evaluation run "${SUITE:-ext_capt}" --runs-dir "${RUNS_DIR:-$PWD/runs}" "$@"
