#!/bin/bash
# The copyright file of a package, in Debian's machine-readable form: the
# project's own, and that of every crate that ends up in the binary. The texts
# of the licences are in the file `licences`. Run in a source that
# packaging/source.sh made.
set -euo pipefail

crates() {
  cargo tree --locked --offline --package oci-bind-hook --edges normal,no-proc-macro \
    --prefix none --format '{p}|{l}' |
    sed 's/ (\*)$//; s/ v\([^ |]*\)[^|]*|/ \1|/' | grep -v '^oci-bind-hook' | LC_ALL=C sort -u
}

# The lines of a crate's licence files that name who holds the rights, or else
# its authors.
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

# Debian's names for what SPDX calls otherwise.
licence() {
  sed 's|/| OR |; s/ OR / or /g; s/\bMIT\b/Expat/g; s/WITH LLVM-exception/with LLVM exception/' <<<"$1"
}

cat <<END
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: oci-bind-hook

Files: *
Copyright: 2026 The oci-bind-hook developers
License: Expat or Apache-2.0
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
