#!/usr/bin/env bash
# Scores BLIP, ViT-GPT2 and CogVLM on a split. After TIME_LIMIT seconds (24 hours) what is written is scored;
# with RUN=id, it goes on where that run stopped.
#   deploy/jobs/ext_capt.sh --trust-remote-code          CogVLM too: it runs code from its repository
#   SUITE=embedded deploy/jobs/ext_capt.sh --limit 20    the embedded model and the floors instead
set -euo pipefail
cd "$(dirname "$0")/../.."
limit=${TIME_LIMIT:-86400}
unset TIME_LIMIT # the evaluation's own limit: an interruption would leave no report
exec deploy/jobs/submit.sh ext_capt evaluation run "${SUITE:-ext_capt}" --run @run --runs-dir @runs \
    --time-limit "$limit" "$@"
