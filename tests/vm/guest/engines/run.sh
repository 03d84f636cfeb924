#!/bin/bash
# Runs the engine tests in a test machine, as /payload/run: those of the engines
# in /payload/engines, with one of /payload/words in their names. Ends with the
# status 200 where a second boot is to follow.
set -euo pipefail
cd /payload/tests
# shellcheck source=tests/runner.sh
. ./runner.sh
# shellcheck source=tests/vm/guest/engines/lib.sh
. ./lib.sh
read -r -a engines </payload/engines
mapfile -t only </payload/words
[ -n "${only[0]}" ] || only=()

for engine in "${engines[@]}"; do
  # shellcheck source=/dev/null
  . "./$engine.sh"
done

start_peer
if [ -e "$AGAIN" ]; then
  after_each() { :; }
  for engine in "${engines[@]}"; do
    if declare -F "after_boot_$engine" >/dev/null; then "after_boot_$engine"; fi
  done
  counts
  exit
fi
echo "Linux $(uname -r), systemd $(systemctl --version | awk 'NR == 1 { print $2 }')"
oci-bind-hook load
KEPT=$(kept)
import_image >/tmp/import 2>&1 || { cat /tmp/import; exit 1; }
for engine in "${engines[@]}"; do "test_$engine"; done
# What is left for the next boot must stay.
after_each() { :; }
for engine in "${engines[@]}"; do
  if declare -F "before_boot_$engine" >/dev/null; then "before_boot_$engine"; fi
done
counts || true
if [ -e "$AGAIN" ]; then exit 200; fi
[ "$failed" = 0 ]
