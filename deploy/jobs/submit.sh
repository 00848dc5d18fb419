#!/usr/bin/env bash
# Submits `python -m ARGUMENTS` to the Ray cluster at RAY_API_SERVER_ADDRESS, with this checkout as its code.
#   deploy/jobs/submit.sh NAME PACKAGE [ARGUMENT...]
# Follows the log and ends with the job's status; later, `ray job logs` finds it under the name that is printed.
# TIME_LIMIT, such as 24h, interrupts it.
set -euo pipefail
cd "$(dirname "$0")/../.."
export RAY_API_SERVER_ADDRESS="${RAY_API_SERVER_ADDRESS:-http://127.0.0.1:8265}"
# The Ray that `make demo` starts asks for the token that it left here.
[ ! -e ~/.ray/auth_token ] || export RAY_AUTH_MODE="${RAY_AUTH_MODE:-token}"

name=$1
shift
exec "${RAY:-.venv/bin/ray}" job submit --submission-id "$name-$(date +%Y%m%d-%H%M%S)" --working-dir . -- \
    ${TIME_LIMIT:+timeout --signal=INT --kill-after=1m "$TIME_LIMIT"} python -m "$@"
