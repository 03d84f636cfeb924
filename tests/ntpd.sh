#!/bin/bash
# ntpd, of Debian's package ntpsec, kept in the cache. It is only unpacked: an
# installation would take the place of the service that sets the system's clock.
# Usage: tests/ntpd.sh --fetch       gets it where it is not in the cache; needs apt
#        tests/ntpd.sh version       tells its version
#        tests/ntpd.sh [ARGUMENT…]   runs it
# Ends with 3 where it is not in the cache.
set -euo pipefail
# shellcheck source=tests/cached.sh
. "$(dirname "$0")/cached.sh"

DIRECTORY=$CACHE/ntpd

fetch() { unpack "$1" ntpsec libbsd0 libmd0; }

if [ "${1:-}" = --fetch ]; then
  keep files
  exit
fi
require
# Where both libraries are.
LD_LIBRARY_PATH=$(dirname "$(find "$DIRECTORY" -name 'libbsd.so.0')")
export LD_LIBRARY_PATH
[ "${1:-}" != version ] || set -- --version
exec "$DIRECTORY/usr/sbin/ntpd" "$@"
