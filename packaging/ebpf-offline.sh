#!/bin/bash
# Rebuilds the eBPF object without a network, from this work tree or an unpacked
# tarball, and compares it with the existing one. The tools must be installed:
# ebpf/tools.sh.
#   packaging/ebpf-offline.sh fetch HOME     with a network: fetch the crates into a
#                                            new directory, a CARGO_HOME
#   packaging/ebpf-offline.sh check HOME     without one: rebuild and compare
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=packaging/vendor.sh
. "$ROOT/packaging/vendor.sh"

die() { echo "${0##*/}: $*" >&2; exit 1; }

# Includes the crates of Rust's own library: the object is built with its core, and
# cargo asks for all of them. They are where downloaded crates would be, because that
# path is in the object, under another name.
fetch() {
  local home crates library
  library=$(rustc --print sysroot)/lib/rustlib/src/rust/library
  [ -e "$library/Cargo.toml" ] || die "no $library: run ebpf/tools.sh"
  mkdir "$1"
  home=$(realpath "$1") crates=$home/registry/src/vendored
  cd "$ROOT"
  RUSTC_BOOTSTRAP=1 vendor "$crates" "$crates" "$home/config.toml" --sync "$library/Cargo.toml"
}

# Works in a copy, without the tarball's configuration of where its crates are.
check() {
  local home
  home=$(realpath "$1")
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  tar --create --directory "$ROOT" --exclude=./vendor --exclude=./.cargo --exclude=./target --exclude=./.git . |
    tar --extract --directory "$work"
  CARGO_HOME=$home CARGO_NET_OFFLINE=true "$work/ebpf/build.sh" --check
}

case ${1:-} in
  fetch | check) "$@" ;;
  *) die 'usage: packaging/ebpf-offline.sh fetch HOME | check HOME' ;;
esac
