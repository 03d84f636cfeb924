#!/bin/bash
# Rebuilds the committed eBPF object from source, with pinned tools.
#   ebpf/build.sh           rebuild it, and record the sources it came from
#   ebpf/build.sh --check   rebuild it elsewhere and compare, byte for byte
set -euo pipefail

cd "$(dirname "$0")/.."
OBJECT=ebpf/oci-bind-hook.bpf.o
RECORD=ebpf/oci-bind-hook.bpf.sha256
TARGET=bpfel-unknown-none
STRIP=/usr/lib/llvm-22/bin/llvm-strip

# Everything that decides what is in the object.
sources() {
  { find ebpf/src -name '*.rs'; echo ebpf/Cargo.toml; echo ebpf/build.sh; echo ebpf/tools.sh; } |
    LC_ALL=C sort
}

# Builds the object into the file $1. No path of this machine is left in it,
# so that any checkout gives the same bytes.
build() {
  local out=$1 linker sysroot registry
  linker=$(ebpf/tools.sh)
  cargo fetch --locked --quiet
  sysroot=$(rustc --print sysroot)
  local flags=(
    "--cfg=bpf_target_arch=\"x86_64\""
    "-Clinker=$linker"
    "-Clink-arg=--btf"
    # Copies of constant size in line; otherwise each is a loop over bytes.
    "-Clink-arg=--disable-expand-memcpy-in-order"
    "-Ctarget-cpu=v3"
    "--remap-path-prefix=$(realpath "$sysroot/lib/rustlib/src/rust")=/rust"
    "--remap-path-prefix=$sysroot=/rust"
    "--remap-path-prefix=$PWD=/src"
  )
  for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
    flags+=("--remap-path-prefix=$registry=/registry")
  done
  # Nightly features of the pinned stable compiler: core for a target that has
  # no prebuilt one.
  RUSTC_BOOTSTRAP=1 CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f'; echo "${flags[*]}") \
    cargo build --locked --quiet --package oci-bind-hook-ebpf --bin oci-bind-hook \
    --features programs --profile ebpf --target "$TARGET" -Z build-std=core \
    --target-dir target/ebpf
  cp "target/ebpf/$TARGET/ebpf/oci-bind-hook" "$out"
  "$STRIP" --strip-debug "$out"
}

case ${1:-} in
  "")
    build "$OBJECT"
    sources | xargs sha256sum > "$RECORD"
    sha256sum "$OBJECT" >> "$RECORD"
    echo "built $OBJECT ($(wc -c < "$OBJECT") bytes)"
    ;;
  --check)
    rebuilt=$(mktemp)
    trap 'rm -f "$rebuilt"' EXIT
    build "$rebuilt"
    if ! cmp "$OBJECT" "$rebuilt"; then
      echo "ebpf/build.sh: $OBJECT is not what its sources give: run make ebpf and commit it" >&2
      exit 1
    fi
    echo "$OBJECT is what its sources give, byte for byte"
    ;;
  *)
    echo "usage: ebpf/build.sh [--check]" >&2
    exit 2
    ;;
esac
