#!/usr/bin/env bash
# Captions files that every node sees, on the cluster's workers; with RUN=id it goes on where that run stopped.
#   deploy/jobs/caption.sh /shared/drawings --workers 4
set -euo pipefail
cd "$(dirname "$0")/../.."
exec deploy/jobs/submit.sh caption captioning "$@" --ray --output @runs/@run/captions.jsonl
