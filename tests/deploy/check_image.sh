#!/usr/bin/env bash
# Checks an image at its strictest: no network, read-only root, /tmp in memory, user 10001 without capabilities.
# The service must become healthy, caption a drawing and end with status 0. As root, with buildah and no engine:
#   tests/deploy/check_image.sh IMAGE
set -euo pipefail
container=$(buildah from --pull-never "$1")
trap 'buildah rm "$container" > /dev/null' EXIT
root=$(buildah mount "$container")
mapfile -t environment < <(buildah inspect --format '{{range .OCIv1.Config.Env}}{{println .}}{{end}}' "$container" | grep .)
user=$(buildah inspect --format '{{.OCIv1.Config.User}}' "$container")
[ "$user" = 10001:10001 ] || { echo "the image runs as '$user'" >&2; exit 1; }

# inside ROOT ENVIRONMENT...: in namespaces of its own
inside() {
    set -euo pipefail
    local root=$1
    shift
    mount --bind "$root" "$root" && mount -o remount,bind,ro "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    for folder in /tmp /dev/shm /app/adapters /app/cache /app/runs; do
        mount -t tmpfs -o mode=1777 tmpfs "$root$folder"
    done
    ip link set lo up
    [ "$(ip -o link show up | wc -l)" = 1 ] || { echo "there is a network" >&2; exit 1; }
    as_user() {
        chroot "$root" setpriv --reuid=10001 --regid=10001 --clear-groups --no-new-privs --inh-caps=-all \
            --bounding-set=-all env -i -C /app "$@"
    }
    as_user "$@" sh -c 'grep -E "^(Uid|CapBnd|NoNewPrivs)" /proc/self/status; ! touch /app/x 2> /dev/null'
    as_user "$@" sh -c '! command -v gcc pip uv make' || { echo "the image has build tools" >&2; exit 1; }
    as_user "$@" python -m captioning services/samples/bicycle.svg
    as_user "$@" python -m services --host 0.0.0.0 --json > /run/ready.json &
    for _ in $(seq 600); do
        [ -s /run/ready.json ] && break
        kill -0 $! || exit 1
        sleep 1
    done
    cat /run/ready.json
    as_user "$@" wget -q -O - http://127.0.0.1:8000/healthz
    echo
    as_user "$@" python -c '
import json, pathlib, urllib.request
drawing = json.dumps({"svg": pathlib.Path("services/samples/mountains.svg").read_text()}).encode()
kind = {"Content-Type": "application/json"}
request = urllib.request.Request("http://127.0.0.1:8000/v1/captions", drawing, kind)
print(urllib.request.urlopen(request, timeout=60).read().decode())'
    pkill -TERM -f '^python -m services'
    wait $! && echo "ended with status 0"
}
export -f inside
unshare --mount --net --ipc --pid --fork --mount-proc bash -c \
    'mount -t tmpfs tmpfs /run; inside "$@"' check "$root" "${environment[@]}"
