#!/usr/bin/env bash
# Makes .venv from requirements.lock and checks the system libraries; does only what is missing.
#
#   deploy/setup.sh          what captioning, serving and training need
#   deploy/setup.sh --test   also what the tests need: Java for METEOR, fonts, Chromium
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

# The first interpreter that the lock was resolved for.
find_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2> /dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "Python 3.11, 3.12 or 3.13 is needed. Install one, or name it: make setup PYTHON=/path/to/python3.12"
}

# Installs Debian packages as root, or names the command and returns 1.
install_packages() {
    if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
        say "installing $*"
        apt-get update -qq > /dev/null
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" > /dev/null
    else
        say "missing system packages. On Debian or Ubuntu: sudo apt-get install $*"
        return 1
    fi
}

make_venv() {
    local python stamp
    stamp=$(sha256sum requirements.lock)
    [ "$(cat .venv/requirements.stamp 2> /dev/null)" != "$stamp" ] || return 0
    if ! .venv/bin/python -m pip --version > /dev/null 2>&1; then
        python=$(find_python)
        "$python" -c 'import ensurepip' 2> /dev/null || install_packages python3-venv
        "$python" -m venv .venv
    fi
    say "installing the locked Python packages (6 GB with CUDA; a few minutes)"
    deploy/install-packages.sh --require-hashes -r requirements.lock
    echo "$stamp" > .venv/requirements.stamp
}

has_cairo() { .venv/bin/python -c 'import ctypes; ctypes.CDLL("libcairo.so.2")' 2> /dev/null; }
has_font() { [ -n "$(find /usr/share/fonts /usr/local/share/fonts ~/.fonts -name '*.[ot]tf' -print -quit 2> /dev/null)" ]; }

check_system() {
    local required=() wanted=()
    has_cairo || required+=(libcairo2)
    command -v java > /dev/null || wanted+=(default-jre-headless)
    has_font || wanted+=(fonts-dejavu-core)
    if [ "$1" = --test ]; then
        command -v chromedriver > /dev/null || wanted+=(chromium chromium-driver)
        required+=("${wanted[@]}")
        wanted=()
    fi
    [ ${#required[@]} = 0 ] || install_packages "${required[@]}" || exit 1
    [ ${#wanted[@]} = 0 ] || install_packages "${wanted[@]}" \
        || say "going on without: METEOR needs Java, text in drawings needs a font"
}

[ "$(uname -s)" = Linux ] || fail "only Linux is supported; elsewhere use the container image (docs/deployment.md)"
make_venv
check_system "${1:-}"
