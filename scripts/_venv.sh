# shellcheck shell=sh
# Sourced by the scripts beside it: a Python environment with this package in it.
# `use_venv EXTRA` sets $python; it takes the active environment, else makes .venv.

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_INPUT=1

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

find_python() {
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s' "$candidate"
            return
        fi
    done
    fail "Python 3.11 or later is needed and was not found." \
        "Install it, or name it: PYTHON=/path/to/python3 $0"
}

make_venv() {
    base=$(find_python)
    printf 'making .venv with %s\n' "$("$base" --version)" >&2
    if "$base" -m venv .venv >/dev/null 2>&1; then
        return
    fi
    # Debian's Python cannot put pip into an environment without python3-venv; pip can, from outside.
    rm -rf .venv
    "$base" -m venv --without-pip .venv ||
        fail "$base cannot make environments." "On Debian or Ubuntu: apt install python3-venv"
    "$base" -m pip --version >/dev/null 2>&1 ||
        fail "$base has no pip." "On Debian or Ubuntu: apt install python3-venv python3-pip"
    printf '%s' "$base" >.venv/pip-of
}

pip_install() {
    log=$(mktemp)
    set -- install "$@"
    if [ -f .venv/pip-of ] && [ -z "${VIRTUAL_ENV:-}" ]; then
        "$(cat .venv/pip-of)" -m pip --python "$python" "$@" >"$log" 2>&1 &
    else
        "$python" -m pip "$@" >"$log" 2>&1 &
    fi
    pip=$!
    while [ -t 2 ] && kill -0 $pip 2>/dev/null; do
        printf '\r\033[K  %.70s' "$(tail -n 1 "$log")" >&2
        sleep 0.3
    done
    if [ -t 2 ]; then printf '\r\033[K' >&2; fi
    if ! wait $pip; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        fail "pip could not install what is needed; the lines above say why."
    fi
    rm -f "$log"
}

# What is installed belongs to this folder and to these locks; if so a start is quick.
venv_stamp() {
    printf '%s %s' "$PWD" "$(cat pyproject.toml requirements/build.txt "requirements/$1.txt" | cksum)"
}

# Besides what use_venv installed: another lock, all of it.
add_locked() {
    stamp=$(dirname "$python")/../edge-agent-$1
    if [ "$(cat "$stamp" 2>/dev/null)" != "$(venv_stamp "$1")" ]; then
        printf 'installing requirements/%s.txt: once\n' "$1" >&2
        pip_install --require-hashes --no-deps -r "requirements/$1.txt"
        venv_stamp "$1" >"$stamp"
    fi
}

use_venv() {
    if [ -z "${VIRTUAL_ENV:-}" ] && [ ! -x .venv/bin/python ]; then make_venv; fi
    python=${VIRTUAL_ENV:-$PWD/.venv}/bin/python
    stamp=$(dirname "$python")/../edge-agent-$1
    if [ "$(cat "$stamp" 2>/dev/null)" != "$(venv_stamp "$1")" ]; then
        printf 'installing edge-agent and what its %s needs: once, a minute or two\n' "$1" >&2
        pip_install --require-hashes -r requirements/build.txt -r "requirements/$1.txt"
        pip_install --no-deps --no-build-isolation --editable .
        venv_stamp "$1" >"$stamp"
    fi
}
