#!/usr/bin/env bash
# Submits `python -m ARGUMENTS` to the Ray cluster at RAY_API_SERVER_ADDRESS, with this checkout as its code.
#   deploy/jobs/submit.sh NAME PACKAGE [ARGUMENT...]     @run: the run's id, @runs: the folder of runs
# Follows the log and ends with the job's status. RUN goes on with an earlier run, TIME_LIMIT interrupts after seconds,
# RUNS_DIR is where results go: a folder that every node sees, or s3://bucket/path, gs://bucket/path.
set -euo pipefail
cd "$(dirname "$0")/../.."
export RAY_API_SERVER_ADDRESS="${RAY_API_SERVER_ADDRESS:-http://127.0.0.1:8265}"
# The Ray that `make demo` starts asks for the token that it left here.
[ ! -e ~/.ray/auth_token ] || export RAY_AUTH_MODE="${RAY_AUTH_MODE:-token}"

[[ "$RAY_API_SERVER_ADDRESS" != http* ]] || curl -sSo /dev/null --max-time 10 "$RAY_API_SERVER_ADDRESS" || {
    echo "No Ray answers at $RAY_API_SERVER_ADDRESS. Start one (make demo), or set RAY_API_SERVER_ADDRESS." >&2
    exit 1
}

time=$(date +%Y%m%d-%H%M%S)
run=${RUN:-$1-$time}
shift
echo "run $run in ${RUNS_DIR:=$PWD/runs}" >&2
exec "${RAY:-.venv/bin/ray}" job submit --submission-id "${SUBMISSION_ID:-$run${RUN:+-$time}}" --working-dir . -- \
    python deploy/jobs/runs.py execute --runs "$RUNS_DIR" ${TIME_LIMIT:+--time-limit "$TIME_LIMIT"} \
    "$run" -- python -m "$@"
