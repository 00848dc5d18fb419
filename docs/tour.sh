#!/usr/bin/env bash
# The whole way in a few minutes on two CPU cores, with nothing downloaded: corpus, plan, train, serve, caption, evaluate.
#
#   docs/tour.sh [FOLDER]    FOLDER keeps what the tour makes; without one it goes to a temporary folder and is deleted
#   PORT=8123 docs/tour.sh   while `make demo` runs
#
# The settings are small, so the adapter learns little: docs/training.md has the real ones.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
port=${PORT:-8000}
folder=${1:-$(mktemp -d)}
service=

finish() {
    [ -z "$service" ] || { kill "$service" && wait "$service"; } || true
    [ -n "${1:-}" ] || rm -rf "$folder"
}
trap 'finish "${1:-}"' EXIT

step() { printf '\n== %s\n' "$*"; }

step "1. A corpus: scenes that are drawn and described by rule, in three splits"
"$python" -m training corpus build --scenes 240 --icons "" --out "$folder/corpus"
"$python" -m training corpus inspect "$folder/corpus/train.jsonl"

recipe=(embedded "corpus.train=$folder/corpus/train.jsonl" "corpus.validation=$folder/corpus/validation.jsonl"
    epochs=1 max_steps=24 validation.every_steps=12 checkpoints.every_steps=12 validation.captions=2)

step "2. The plan: what the run would take, before it takes anything"
"$python" -m training plan "${recipe[@]}"

step "3. Training: LoRA on the embedded model, two workers"
"$python" -m training "${recipe[@]}" --run tour --runs-dir "$folder/runs" --adapters-dir "$folder/adapters"

step "4. Serving: the base model and the adapter behind one API and a page"
rm -f "$folder/ready"
mkfifo "$folder/ready"
"$python" -m services --json --port "$port" --adapters-dir "$folder/adapters" > "$folder/ready" &
service=$!
read -r ready < "$folder/ready"
url=$("$python" -c 'import json, sys; print(json.loads(sys.argv[1])["url"])' "$ready")

step "5. Captions over HTTP: from the base model, and from the adapter"
curl -sSf -F file=@services/samples/mountains.svg "$url/v1/captions"
echo
curl -sSf -F file=@services/samples/mountains.svg -F model=tour "$url/v1/captions"
echo
curl -sSf -F file=@services/samples/mountains.svg -F "title=Two green mountains" -o "$folder/titled.svg" "$url/v1/title"
kill "$service" && wait "$service"
service=

step "6. Evaluation: the base model, the adapter and the floors on a few held-out drawings"
"$python" -m evaluation embedded --adapter "$folder/adapters/tour" --corpus "$folder/corpus/test.jsonl" --limit 12 \
    --training-corpus "$folder/corpus/train.jsonl" --run tour-scores --runs-dir "$folder/runs"
