#!/usr/bin/env bash
# Puts Apicurio Registry, which speaks the API of Confluent's, into .deckle/servers/apicurio. Needs Maven.
set -euo pipefail
cd "$(dirname "$0")/../.."

sums=deploy/setup/registry.sha256
registry=.deckle/servers/apicurio
if cmp -s "$sums" "$registry/registry.sha256"; then exit 0; fi

version=3.3.3
repository=$PWD/.deckle/cache/maven
mvn --quiet --batch-mode -Dmaven.repo.local="$repository" \
    org.apache.maven.plugins:maven-dependency-plugin:3.6.1:get \
    -Dartifact="io.apicurio:apicurio-registry-app:$version:tar.gz:all" -Dtransitive=false
archive=$repository/io/apicurio/apicurio-registry-app/$version
(cd "$archive" && sha256sum --check --strict --quiet) <"$sums"

rm -rf "$registry"
mkdir -p "$registry"
tar --extract --gzip --directory "$registry" --file "$archive/apicurio-registry-app-$version-all.tar.gz"
cp "$sums" "$registry/registry.sha256" # last: marks the folder as whole
