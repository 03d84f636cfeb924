#!/bin/bash
# Puts what a machine of tests/vm/kernels.sh runs into a directory: the hook, the
# tests, and the programs that they start.
# Usage: tests/vm/kernels-payload.sh PAYLOAD TARGET TEST...
#   PAYLOAD  the directory
#   TARGET   where cargo puts what it builds
#   TEST     the binary of a test, with the hash in its name that cargo gives it
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

payload=$1 target=$2
shift 2
programs=(socket-agent named-client raw-listener at-pin)

mkdir -p "$payload/target/deps" "$payload/files$ROOT/tests"
cp "$VM/guest/trials.sh" "$payload/run"
cp "$target/release/oci-bind-hook" "${programs[@]/#/$target/debug/}" "$payload/target/"
for binary; do
  name=$(basename "$binary")
  cp "$binary" "$payload/target/deps/${name%-*}"
done
# A machine needs nothing else but their libraries.
add_libraries "$payload/files" "$@" "${programs[@]/#/$payload/target/}"
# The trials compare SEMANTICS.md, at the path where it was when they were
# built, with themselves.
cp "$ROOT/tests/SEMANTICS.md" "$payload/files$ROOT/tests/"
