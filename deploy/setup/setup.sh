#!/usr/bin/env bash
# Prepares this machine: setup.sh [run|test]. Safe to call at any time; does nothing where all is done.
set -euo pipefail
cd "$(dirname "$0")/../.."

scope=${1:-run}
[ "$scope" = run ] || [ "$scope" = test ] || { echo "usage: setup.sh [run|test]" >&2; exit 2; }

# Done for these very scripts and pins? `test` includes `run`.
key=$(find deploy/setup deploy/models.toml LICENSE -type f ! -name '*.pyc' -print0 | LC_ALL=C sort -z | xargs -0 cat |
    sha256sum | cut -d' ' -f1)
for done in .deckle/setup-test .deckle/setup-run; do
    if [ "$(cat "$done" 2>/dev/null)" = "$key" ]; then exit 0; fi
    if [ "$scope" = test ]; then break; fi
done
if [ "$(uname -s) $(uname -m)" != "Linux x86_64" ]; then
    echo "only Linux on x86-64 is set up; README.md says what other systems need" >&2
    exit 1
fi
mkdir -p .deckle
log=.deckle/setup.log
: >"$log"

step() { # what it gives, command…
    local what=$1 started=$SECONDS
    shift
    if "$@" >>"$log" 2>&1; then
        echo "✓ $what ($((SECONDS - started)) s)"
    else
        echo "✗ $what: $* failed; the end of $log:" >&2
        tail -n 20 "$log" >&2
        exit 1
    fi
}

step "system packages" deploy/setup/apt.sh "$scope"
step "Python environments" deploy/setup/python.sh "$scope"
step "native libraries in .deckle/lib" deploy/setup/libraries.sh
step "models in .deckle/models" deploy/setup/models.sh
if [ "$scope" = test ]; then
    step "Kafka in .deckle/servers" deploy/setup/kafka.sh
    step "Cassandra in .deckle/servers" deploy/setup/cassandra.sh
    step "schema registry in .deckle/servers" deploy/setup/registry.sh
    step "Azure emulator in .deckle/servers" deploy/setup/azurite.sh
fi
echo "$key" >".deckle/setup-$scope"
