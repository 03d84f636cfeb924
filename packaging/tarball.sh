#!/bin/bash
# Builds the source tarball from what packaging/source.sh creates: with all crates,
# so that it builds without a network. The same commit gives the same bytes.
# Usage: packaging/tarball.sh OUT          a directory, created if missing
# Prints its path.
set -euo pipefail
# shellcheck source=packaging/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=packaging/publisher.sh
. "$ROOT/packaging/publisher.sh"

need cargo tar gzip
out=$1 name=oci-bind-hook-$(version)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say 'packing the source and its crates'
"$ROOT/packaging/source.sh" "$work/$name"
packages=$work/$name/packaging
name_publisher "$packages"/deb/debian/{control,changelog} "$packages/rpm/oci-bind-hook.spec"
mkdir -p "$out"
pack "$work" "$out/$name.tar.gz" "$name"
echo "$out/$name.tar.gz"
