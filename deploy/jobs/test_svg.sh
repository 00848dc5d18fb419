#!/usr/bin/env bash
# Draws five files with every installed renderer and compares the pictures, for at most 24 hours.
#   CORPUS=my_drawings/ deploy/jobs/test_svg.sh --samples 50    files of this checkout
set -euo pipefail
cd "$(dirname "$0")/../.."
exec deploy/jobs/submit.sh test_svg rendering compare "${CORPUS:-evaluation/suites/embedded/test.jsonl}" \
    --samples 5 --time-limit 86400 --out @runs/@run "$@"
