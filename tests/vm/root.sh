#!/bin/bash
# Makes a small Debian system, for tests that install something in it.
# Usage: tests/vm/root.sh SUITE            SUITE like trixie
# Prints its file in the cache, a tar. It is made anew after a week.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

make_root() {
  local suite=$1 root=$2 work
  say "making a small system of Debian $suite"
  work=$(mktemp --directory --tmpdir="$CACHE")
  # shellcheck disable=SC2064 # the directory of now
  trap "rm -rf '$work'" EXIT
  bootstrap "$suite" "$work/root.tar" "$work/log" --variant=essential --include=libgcc-s1 --format=tar
  mkdir -p "$CACHE/roots"
  mv "$work/root.tar" "$root"
}

[ $# = 1 ] || die 'usage: tests/vm/root.sh SUITE'
root=$CACHE/roots/$1.tar
if [ -z "$(find "$root" -mtime -7 2>/dev/null)" ]; then
  update_lists
  make_root "$1" "$root" >&2
fi
echo "$root"
