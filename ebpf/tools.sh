#!/bin/bash
# Installs the pinned tools that rebuild the eBPF object, then prints where
# bpf-linker is. Needs root on Debian; elsewhere install the four by hand:
# LLVM 22 (with llvm-config and llvm-strip), bpf-linker, Rust and its rust-src.
set -euo pipefail

RUST=1.95.0            # the compiler whose output is committed
LLVM=22                # the LLVM that this compiler carries
BPF_LINKER=0.13.0
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/oci-bind-hook
TOOLS=$CACHE/bpf-linker-$BPF_LINKER-llvm$LLVM
PREFIX=/usr/lib/llvm-$LLVM

say() { echo "ebpf/tools.sh: $*" >&2; }
die() { say "$*"; exit 1; }

# Tells which Rust is in use here; the committed object comes from $RUST alone.
check_rustc() {
  local found
  found=$(rustc --version | cut -d' ' -f2)
  [ "$found" = "$RUST" ] ||
    die "rustc $found is in use, the eBPF object is built with $RUST: set RUSTUP_TOOLCHAIN=$RUST"
}

install_llvm() {
  [ -x "$PREFIX/bin/llvm-config" ] && [ -x "$PREFIX/bin/llvm-strip" ] &&
    [ -e /usr/include/zstd.h ] && [ -e /usr/include/zlib.h ] && return
  command -v apt-get >/dev/null || die "no apt-get: install LLVM $LLVM with its headers by hand"
  say "installing LLVM $LLVM"
  apt-get update -q >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends \
    llvm-$LLVM llvm-$LLVM-dev libzstd-dev zlib1g-dev >&2
}

install_bpf_linker() {
  [ -x "$TOOLS/bin/bpf-linker" ] && return
  say "building bpf-linker $BPF_LINKER (about two minutes)"
  LLVM_PREFIX=$PREFIX cargo install bpf-linker --version "$BPF_LINKER" --locked \
    --no-default-features --features llvm-$LLVM --root "$TOOLS" >&2
}

# rust-src, which -Z build-std=core compiles: from rustup where its server can
# be reached, otherwise from Debian's package of the same version. Debian's is
# unpacked, not installed: the package conflicts with rustup.
install_rust_src() {
  local rustlib src
  rustlib=$(rustc --print sysroot)/lib/rustlib
  [ -e "$rustlib/src/rust/library/core/Cargo.toml" ] && return
  if command -v rustup >/dev/null && timeout 60 rustup component add rust-src >&2 2>/dev/null; then
    return
  fi
  src=$CACHE/rust-src-$RUST
  [ -e "$src/library/core/Cargo.toml" ] || unpack_debian_rust_src "$src"
  say "linking $src into the toolchain"
  mkdir -p "$rustlib/src"
  ln -sfn "$src" "$rustlib/src/rust"
}

# Downloads rust-src from the first suite that has this version, with an apt
# configuration of its own, so that the machine's suites stay as they are.
unpack_debian_rust_src() {
  local dest=$1 work mirror version suite
  work=$(mktemp -d)
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
    grep -E '/debian/?$' | sort -u | head -n 1)
  [ -n "$mirror" ] || die "no Debian mirror in apt's configuration: run apt-get update, or rustup component add rust-src"
  mkdir -p "$work"/{lists/partial,cache/archives/partial,parts,unpacked}
  for suite in trixie-backports sid forky; do
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
  done > "$work/sources.list"
  local apt=(-o "Dir::Etc::SourceList=$work/sources.list" -o "Dir::Etc::SourceParts=$work/parts"
    -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache"
    -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false)
  apt-get "${apt[@]}" -q update >&2 || say "some suites could not be read"
  version=$(apt-cache "${apt[@]}" madison rust-src | awk '{print $3}' | grep -F "$RUST+" | head -n 1)
  [ -n "$version" ] ||
    die "rust-src $RUST is in none of the suites read: run rustup component add rust-src"
  (cd "$work" && apt-get "${apt[@]}" -q download "rust-src=$version" >&2)
  dpkg-deb -x "$work"/rust-src_*.deb "$work/unpacked"
  mkdir -p "$CACHE"
  rm -rf "$dest"
  mv "$work/unpacked/usr/src/rustc-$RUST" "$dest"
  rm -rf "$work"
}

check_rustc
install_llvm
install_bpf_linker
install_rust_src
echo "$TOOLS/bin/bpf-linker"
