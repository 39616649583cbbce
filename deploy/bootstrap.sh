#!/usr/bin/env bash
# Make the Python environment: bootstrap.sh PYTHON VENV. Debian's python3 comes without venv, so that is installed first.
set -euo pipefail
python=$1
venv=$2

fail() { printf 'error: %s\n  why:  %s\n  next: %s\n' "$1" "$2" "$3" >&2; exit 1; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "no usable Python" "'$python' is missing or older than 3.11" "apt-get install python3, or make PYTHON=/path/to/python3.11"

echo "==> Python environment in $venv"
if [ ! -x "$venv/bin/pip" ]; then
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        echo "    installing python3-venv (Debian leaves it out)"
        apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y python3-venv >/dev/null ||
            fail "python3-venv could not be installed" "apt-get failed, see above" "install it by hand, or give a Python that has venv: make PYTHON=..."
    fi
    "$python" -m venv "$venv"
fi
"$venv/bin/pip" install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock ||
    fail "dependencies could not be installed" "pip failed, see above" "check that a package index is in reach, then repeat"
"$venv/bin/pip" install -q --disable-pip-version-check --no-deps --no-build-isolation -e . ||
    fail "zonelet could not be installed" "pip failed, see above" "repeat with: $venv/bin/pip install --no-deps -e ."
echo "    done"
