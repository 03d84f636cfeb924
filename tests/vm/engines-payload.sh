#!/bin/bash
# Puts what a machine of tests/vm/engines.sh installs and runs into a directory. What
# is installed is what `make install` installs.
# Usage: tests/vm/engines-payload.sh PAYLOAD TARGET
#   PAYLOAD  the directory
#   TARGET   where cargo puts what it builds
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

payload=$1 target=$2

# Its C library is older than the systems' ones, which does no harm.
add_youki() {
  local program
  if program=$("$VM/youki.sh"); then
    cp "$program" "$payload/tests/youki"
  else
    say 'NO YOUKI: its tests are skipped; YOUKI=build make test-engines builds it, once, in some five minutes'
  fi
}

make --silent -C "$ROOT" build build-tests
mkdir -p "$payload"/{files,tests}
cp -a "$VM/guest/system/." "$payload/files/"
make --silent -C "$ROOT" install DESTDIR="$payload/files"
# The systems' C libraries are newer than this one's, so the programs of the tests
# run there too.
cp "$target/release/echo-server" "$target/debug/at-pin" "$ROOT/tests/"{runner,image}.sh "$VM/guest/engines/"* \
  "$ROOT/docs/examples/web.container" "$payload/tests/"
add_youki
ln -s tests/run.sh "$payload/run"
chmod 755 "$payload"
