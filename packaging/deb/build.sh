#!/bin/bash
# Builds the Debian packages, source and binary, from the work tree, as `make deb`
# does.
# Usage: packaging/deb/build.sh OUT        a directory, created if missing
# Prints their paths. The same commit gives the same bytes.
set -euo pipefail
# shellcheck source=packaging/lib.sh
. "$(dirname "$0")/../lib.sh"

need dpkg-buildpackage dh cargo
out=$1 name=oci-bind-hook
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source=$work/$name-$(version)

"$ROOT/packaging/tarball.sh" "$work" >/dev/null
mv "$source.tar.gz" "$work/${name}_$(version).orig.tar.gz"
tar --extract --file "$work/${name}_$(version).orig.tar.gz" --directory "$work"
cp -r "$source/packaging/deb/debian" "$source/debian"
(cd "$source" && packaging/copyright.sh >debian/copyright)
say 'building the binary and the Debian packages, which takes minutes'
# -d: Rust may come from rustup instead of a package.
(cd "$source" && dpkg-buildpackage --no-sign -d) >"$work/log" 2>&1 ||
  { tail -n 50 "$work/log" >&2; die 'the build failed'; }
mkdir -p "$out"
for file in "$work"/*.{deb,dsc,debian.tar.xz,orig.tar.gz}; do
  cp "$file" "$out/"
  echo "$out/$(basename "$file")"
done
