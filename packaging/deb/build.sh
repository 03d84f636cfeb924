#!/bin/bash
# Builds the Debian package from the work tree, as `make deb` does.
# Usage: packaging/deb/build.sh OUT        a directory, made if it is missing
# Prints the path of the package. The same commit gives the same bytes.
set -euo pipefail
# shellcheck source=packaging/lib.sh
. "$(dirname "$0")/../lib.sh"

need dpkg-buildpackage dh cargo
out=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source=$work/oci-bind-hook-$(version)

"$ROOT/packaging/source.sh" "$source"
cp -r "$source/packaging/deb/debian" "$source/debian"
(cd "$source" && packaging/copyright.sh >debian/copyright)
# -d: Rust comes from rustup as often as from a package.
(cd "$source" && dpkg-buildpackage --build=binary --no-sign -d) >"$work/log" 2>&1 ||
  { tail -n 50 "$work/log" >&2; die 'the build failed'; }
mkdir -p "$out"
cp "$work"/*.deb "$out/"
for package in "$work"/*.deb; do echo "$out/$(basename "$package")"; done
