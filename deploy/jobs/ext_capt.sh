#!/usr/bin/env bash
# Scores BLIP, ViT-GPT2 and CogVLM on a split, for at most 24 hours; with RUN=id, it goes on where that run stopped.
#   SUITE=embedded deploy/jobs/ext_capt.sh --limit 20    the embedded model and the floors instead
set -euo pipefail
cd "$(dirname "$0")/../.."
export TIME_LIMIT="${TIME_LIMIT:-86400}"
exec deploy/jobs/submit.sh ext_capt evaluation run "${SUITE:-ext_capt}" --run @run --runs-dir @runs "$@"
