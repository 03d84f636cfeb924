#!/bin/bash
# Makes the clean systems that packages are tried in. Debian 12's has systemd,
# which enables units and follows presets; the others have none, as containers.
# Usage: tests/packages/system.sh SUITE
# Prints its file in the cache, a tar. It is made anew after a week.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../vm/lib.sh"

[ "$1" = bookworm ] || exec "$VM/root.sh" "$1"
system=$CACHE/roots/$1-systemd.tar
if [ -z "$(find "$system" -mtime -7 2>/dev/null)" ]; then
  update_lists
  say "making a system of Debian $1 with systemd"
  mkdir -p "$CACHE/roots"
  work=$(mktemp --directory --tmpdir="$CACHE")
  trap 'rm -rf "$work"' EXIT
  bootstrap "$1" "$work/system.tar" "$work/log" --variant=essential --include=systemd --format=tar
  mv "$work/system.tar" "$system"
fi
echo "$system"
