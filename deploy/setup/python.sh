#!/usr/bin/env bash
# Makes the Python environments: .deckle/venv (exports the models) and, with `test`, .deckle/venv-test (development
# tools and the validator of exports). Every package is pinned by hash; the program itself needs no Python.
set -euo pipefail
cd "$(dirname "$0")/../.."

environment() { # folder, requirements file
    local folder=$1 requirements=$2
    if cmp -s "$requirements" "$folder/requirements.txt"; then return; fi
    # The newest Python that has pinned wheels; the plain python3 may be too new or too old.
    local python
    for python in python3 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            rm -rf "$folder"
            "$python" -m venv "$folder"
            "$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
                --require-hashes --only-binary=:all: --no-deps --requirement "$requirements"
            cp "$requirements" "$folder/requirements.txt" # last: marks the environment as whole
            return
        fi
    done
    echo "Python 3.11, 3.12 or 3.13 with venv is needed (package python3-venv)" >&2
    exit 1
}

environment .deckle/venv deploy/setup/requirements.txt
if [ "${1:-run}" = test ]; then environment .deckle/venv-test deploy/setup/requirements-test.txt; fi
