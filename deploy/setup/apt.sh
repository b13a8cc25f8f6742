#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages that building and running deckle needs and, with `test`, those of the servers
# that tests talk to; and only the missing ones.
set -euo pipefail

needed=(gcc g++ make pkg-config libclang-dev libssl-dev zlib1g-dev libtesseract-dev libleptonica-dev
    tesseract-ocr-eng tesseract-ocr-deu tesseract-ocr-fra tesseract-ocr-frk python3 python3-venv python3-pip)
if [ "${1:-run}" = test ] && ! command -v mvn >/dev/null; then needed+=(maven); fi

if ! command -v dpkg-query >/dev/null; then
    echo "not a Debian or Ubuntu system: install what these packages hold yourself: ${needed[*]}" >&2
    exit 1
fi

missing=()
for package in "${needed[@]}"; do
    state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "packages are missing; ask an administrator to run:" >&2
        echo "  apt-get install --no-install-recommends ${missing[*]}" >&2
        exit 1
    fi
    root=(sudo)
fi
"${root[@]}" apt-get update -q
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
