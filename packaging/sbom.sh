#!/bin/bash
# Writes the bills of materials (CycloneDX, JSON) of the binary and of the eBPF
# object, which is part of it: every crate that is linked in, with its version,
# licence and checksum, and the C library, which is in the binary.
# Usage: packaging/sbom.sh OUT             a directory, created if missing
#        packaging/sbom.sh --tools         only installs the tool
# Prints their paths. The same commit gives the same bytes.
set -euo pipefail
# shellcheck source=packaging/lib.sh
. "$(dirname "$0")/lib.sh"

CYCLONEDX=0.5.9
TOOLS=${XDG_CACHE_HOME:-$HOME/.cache}/oci-bind-hook/cargo-cyclonedx-$CYCLONEDX

need cargo jq
if [ ! -x "$TOOLS/bin/cargo-cyclonedx" ]; then
  say "building cargo-cyclonedx $CYCLONEDX (about two minutes)"
  cargo install --quiet cargo-cyclonedx --version "$CYCLONEDX" --locked --root "$TOOLS" >&2
fi
[ "$1" != --tools ] || exit 0
out=$1 name=oci-bind-hook-$(version)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# bill CRATE TARGET FILE OPTION...: cargo-cyclonedx writes beside the crate's manifest,
# hence the copy. With SOURCE_DATE_EPOCH set it adds no serial number, so only the
# path has to be replaced.
bill() {
  local crate=$1 target=$2 file=$3
  shift 3
  (cd "$work/source" && "$TOOLS/bin/cargo-cyclonedx" cyclonedx --quiet --manifest-path "$crate/Cargo.toml" \
    --format json --spec-version 1.5 --describe binaries --no-build-deps --target "$target" "$@")
  sed "s|path+file://$work/source|path+file:///usr/src/oci-bind-hook|" \
    "$work/source/$crate/oci-bind-hook_bin.cdx.json" >"$out/$file"
  echo "$out/$file"
}

say 'writing the bills of materials'
"$ROOT/packaging/source.sh" "$work/source"
mkdir -p "$out"
bill hook x86_64-unknown-linux-gnu "$name.cdx.json"
libc=$(getconf GNU_LIBC_VERSION)
jq --arg version "${libc#* }" '.components += [{
    type: "library", name: "glibc", version: $version, scope: "required",
    licenses: [{license: {id: "LGPL-2.1-or-later"}}]
  }]' "$out/$name.cdx.json" >"$work/bill"
cp "$work/bill" "$out/$name.cdx.json"
bill ebpf bpfel-unknown-none "$name.bpf.cdx.json" --features programs
