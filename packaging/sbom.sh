#!/bin/bash
# Makes the bill of materials of the binary (CycloneDX, JSON): every crate that
# is linked into it, with its version, licence and checksum.
# Usage: packaging/sbom.sh OUT             a directory, made if it is missing
#        packaging/sbom.sh --tools         only has the tool ready
# Prints its path. The same commit gives the same bytes.
set -euo pipefail
# shellcheck source=packaging/lib.sh
. "$(dirname "$0")/lib.sh"

CYCLONEDX=0.5.9
TOOLS=${XDG_CACHE_HOME:-$HOME/.cache}/oci-bind-hook/cargo-cyclonedx-$CYCLONEDX

need cargo
if [ ! -x "$TOOLS/bin/cargo-cyclonedx" ]; then
  echo "${0##*/}: building cargo-cyclonedx $CYCLONEDX (about two minutes)" >&2
  cargo install --quiet cargo-cyclonedx --version "$CYCLONEDX" --locked --root "$TOOLS" >&2
fi
[ "$1" != --tools ] || exit 0
out=$1 file=oci-bind-hook-$(version).cdx.json
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# It writes beside each manifest: hence a copy.
"$ROOT/packaging/source.sh" "$work/source"
(cd "$work/source" && "$TOOLS/bin/cargo-cyclonedx" cyclonedx --quiet --manifest-path hook/Cargo.toml \
  --format json --spec-version 1.5 --describe binaries --no-build-deps --target x86_64-unknown-linux-gnu)
mkdir -p "$out"
# With a time of its own it gives no serial number; what is left is the path.
sed "s|path+file://$work/source|path+file:///usr/src/oci-bind-hook|" \
  "$work/source/hook/oci-bind-hook_bin.cdx.json" >"$out/$file"
echo "$out/$file"
