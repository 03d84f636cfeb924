#!/bin/bash
# Builds youki, which Debian does not have, from crates.io.
# Usage: tests/vm/youki.sh
#   YOUKI  `build`: build it where it is not in the cache, for some five minutes
# Prints the program in the cache. Ends with 3 where it is neither there nor to
# be built.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

VERSION=0.7.0
program=$CACHE/youki/youki-$VERSION

# Without seccomp, which needs a C library and which no test here is about.
build() {
  local work
  work=$(mktemp --directory --tmpdir="$CACHE")
  # shellcheck disable=SC2064 # the directory of now
  trap "rm -rf '$work'" EXIT
  say "building youki $VERSION"
  CARGO_TARGET_DIR=$work/target nice -n 10 cargo install --quiet --locked --root "$work" \
    --no-default-features --features systemd --version "$VERSION" youki
  mkdir -p "$CACHE/youki"
  mv "$work/bin/youki" "$program"
}

[ $# = 0 ] || die 'usage: tests/vm/youki.sh'
if [ ! -x "$program" ]; then
  [ "${YOUKI:-}" = build ] || exit 3
  build >&2
fi
echo "$program"
