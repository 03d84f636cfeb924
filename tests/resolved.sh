#!/bin/bash
# systemd-resolved, of Debian's package, kept in the cache. It is only unpacked: an
# installation would have the whole system resolve names by it.
# Usage: tests/resolved.sh --fetch       gets it where it is not in the cache; needs apt
#        tests/resolved.sh version       tells its version
#        tests/resolved.sh HOSTS         answers at 127.0.0.53, in this network namespace,
#                                        with the names of that file (hosts(5))
# Ends with 3 where it is not in the cache.
set -euo pipefail
# shellcheck source=tests/cached.sh
. "$(dirname "$0")/cached.sh"

DIRECTORY=$CACHE/systemd-resolved
USER_NAME=systemd-resolve

fetch() { unpack "$1" systemd-resolved libsystemd-shared; }

# Its own files, and its user where it is not installed.
prepare() {
  mount -t tmpfs none /run
  mkdir /run/systemd
  cp /etc/passwd /run/passwd
  grep -q "^$USER_NAME:" /run/passwd || echo "$USER_NAME:x:65534:65534::/:/bin/false" >>/run/passwd
  mount --bind /run/passwd /etc/passwd
  mount --bind "$1" /etc/hosts
}

if [ "${1:-}" = --fetch ]; then
  keep files
  exit
fi
require
PROGRAM=$(find "$DIRECTORY" -name systemd-resolved -type f -perm -u+x)
LD_LIBRARY_PATH=$(dirname "$(find "$DIRECTORY" -name 'libsystemd-shared-*.so')")
export LD_LIBRARY_PATH
[ "$1" != version ] || exec "$PROGRAM" --version
[ "${IN_NAMESPACE:-}" = yes ] || IN_NAMESPACE=yes exec unshare --mount -- "$0" "$1"
prepare "$1"
exec "$PROGRAM"
