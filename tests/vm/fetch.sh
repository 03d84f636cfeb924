#!/bin/bash
# Fetches Debian's newest kernel (flavour cloud) of a series, or of all.
# Usage: tests/vm/fetch.sh SERIES|newest      SERIES like 6.12
# Prints its directory in the cache, which has vmlinuz and lib/modules/RELEASE.
# Ends with 3 where the archive has no such kernel.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

FLAVOUR=-cloud-amd64

releases() {
  own_apt apt-cache search --names-only "^linux-image-[0-9].*$FLAVOUR\$" |
    sed 's/^linux-image-\([^ ]*\) .*/\1/' | sort -V
}

newest_of() {
  local series=$1
  case $series in
    newest) releases ;;
    *) releases | grep "^${series//./\\.}[.-]" || true ;;
  esac | tail -n 1
}

# From 6.19 on the kernel, its modules and their lists are in packages of their own.
packages_of() {
  local package
  for package in linux-image linux-binary linux-modules linux-base; do
    [ -z "$(own_apt apt-cache madison "$package-$1")" ] || echo "$package-$1"
  done
}

fetch() {
  local release=$1 directory=$2 work package
  say "fetching Linux $release"
  work=$(mktemp --directory --tmpdir="$CACHE")
  # shellcheck disable=SC2064 # the directory of now
  trap "rm -rf '$work'" EXIT
  # shellcheck disable=SC2046 # a list of plain words
  (cd "$work" && own_apt apt-get -q download $(packages_of "$release")) >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; die "could not download Linux $release"; }
  for package in "$work"/*.deb; do dpkg-deb --extract "$package" "$work/root"; done
  mkdir -p "$work/kernel/lib/modules"
  find "$work/root" -name 'vmlinuz*' -type f -exec cp {} "$work/kernel/vmlinuz" ';'
  find "$work/root" -path "*/lib/modules/$release" -type d -exec cp -r {} "$work/kernel/lib/modules/" ';'
  [ -s "$work/kernel/vmlinuz" ] && [ -d "$work/kernel/lib/modules/$release/kernel" ] ||
    die "the packages of Linux $release lack the kernel or its modules: see packages_of"
  depmod --basedir "$work/kernel" "$release"
  mkdir -p "$CACHE/kernels"
  rm -rf "$directory"
  mv "$work/kernel" "$directory"
}

[ $# = 1 ] || die 'usage: tests/vm/fetch.sh SERIES|newest'
# One at a time: other checkouts use the cache too.
exec 9>"$CACHE/lock"
flock 9
update_lists
release=$(newest_of "$1")
[ -n "$release" ] || { say "Debian's archive has no Linux $1 ($FLAVOUR)"; exit 3; }
directory=$CACHE/kernels/$release
[ -d "$directory" ] || fetch "$release" "$directory" >&2
echo "$directory"
