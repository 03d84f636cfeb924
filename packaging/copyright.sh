#!/bin/bash
# Prints the copyright file of a package, in Debian's machine-readable format: the
# project's own copyright, that of every crate in the binary or in the eBPF object,
# which is part of it, and that of the C library, which is linked in. Procedural
# macros run in the compiler and end up in neither. The texts of the licences are in
# the file `licences`. Run it in a source tree that packaging/source.sh created.
set -euo pipefail

crates() {
  cargo tree --locked --offline --package oci-bind-hook --package oci-bind-hook-ebpf \
    --features oci-bind-hook-ebpf/programs --edges normal,no-proc-macro \
    --prefix none --format '{p}|{l}' |
    sed 's/ (\*)$//; s/ v\([^ |]*\)[^|]*|/ \1|/' | grep -v -e '^oci-bind-hook' -e '^$' | LC_ALL=C sort -u
}

# The lines of a crate's licence files that name the copyright holders, or else its
# authors.
holders() {
  local crate=$1 found
  found=$(grep -shE '^ *(Copyright|©) *(\(c\)|\(C\)|©)? *[0-9A-Z]' "$crate"/{LICENSE,COPYING,COPYRIGHT,UNLICENSE}* |
    grep -vE '\[yyyy\]|name of (copyright|author)|Copyright Notice|COPYRIGHT' |
    sed 's/^ *//; s/^Copyright *//; s/^(c) *//I; s/^© *//; s/ *$//' | LC_ALL=C sort -u) || true
  if [ -z "$found" ]; then
    found=$(sed -n '/^authors = \[/,/\]/p' "$crate/Cargo.toml" | grep -o '"[^"]*"' | tr -d '"') || true
  fi
  [ -n "$found" ] || found="the authors of ${crate##*/}"
  echo "$found"
}

# Debian's names for licences that SPDX calls differently.
licence() {
  sed 's|/| OR |; s/ OR / or /g; s/\bMIT\b/Expat/g; s/WITH LLVM-exception/with LLVM exception/' <<<"$1"
}

cat <<END
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: oci-bind-hook
Comment: The GNU C Library of the system where the package was built is linked into
 the binary, unchanged: copyright 1991-2026 Free Software Foundation, Inc., and
 others, license LGPL-2.1+, whose text is in /usr/share/common-licenses/LGPL-2.1 on
 Debian, and in LICENSE.glibc of the RPM package. To link another library instead,
 rebuild the package from its source.

Files: *
Copyright: 2026 The oci-bind-hook developers
License: Expat or Apache-2.0

Files: ebpf/oci-bind-hook.bpf.o
Copyright: 2026 The oci-bind-hook developers
           The Rust Project Developers
License: Expat or Apache-2.0
Comment: Compiled from ebpf/src, the crates aya-ebpf, aya-ebpf-bindings and
 aya-ebpf-cty, which are named below, and Rust's own core. Rust's own library,
 which the compiler brings, is in the binary too.
END

crates | while IFS='|' read -r crate name; do
  directory=vendor/${crate/ /-}
  [ -d "$directory" ] || { echo "copyright: no $directory" >&2; exit 1; }
  echo
  echo "Files: $directory/*"
  printf 'Copyright: '
  holders "$directory" | sed '2,$s/^/           /'
  echo "License: $(licence "$name")"
done

echo
cat packaging/licences
