#!/usr/bin/env bash
# Scores BLIP, ViT-GPT2 and CogVLM on a split, for at most 24 hours; submitted again, it goes on where it stopped.
#   SUITE=embedded deploy/jobs/ext_capt.sh --limit 20    the embedded model and the floors instead
set -euo pipefail
cd "$(dirname "$0")/../.."
export TIME_LIMIT="${TIME_LIMIT:-24h}"
exec deploy/jobs/submit.sh ext_capt evaluation run "${SUITE:-ext_capt}" --runs-dir "${RUNS_DIR:-$PWD/runs}" "$@"
