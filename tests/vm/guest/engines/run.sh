#!/bin/bash
# Runs the engine tests in a test machine, as /payload/run: those of the engines
# in /payload/engines, with one of /payload/words in their names. Ends with the
# status 200 where another boot is to follow: there is one for what engines start
# at boot, and one after each reset of the machine.
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

# each STAGE...: what the engines do at it.
each() {
  local engine
  for engine in "${engines[@]}"; do
    if declare -F "$1_$engine" >/dev/null; then "$1_$engine" "${@:2}"; fi
  done
}

start_peer
stage=tests
[ ! -e "$AGAIN" ] || stage=$(<"$AGAIN")
rm -f "$AGAIN"
if [ "$stage" = tests ]; then
  echo "Linux $(uname -r), systemd $(systemctl --version | awk 'NR == 1 { print $2 }')"
  oci-bind-hook load
  KEPT=$(kept)
  import_image >/tmp/import 2>&1 || { cat /tmp/import; exit 1; }
  each test
fi
# What is left for the next boot must stay.
after_each() { :; }
case $stage in
  tests) each before_boot ;;
  after_boot) each after_boot ;;
  after_reset_*) each after_reset "${stage#after_reset_}" ;;
esac
counts || true
case $stage in
  after_boot) each reset loading ;;
  after_reset_loading) each reset attached ;;
esac
# A reset that did not happen is told by the status.
if [ "$stage" != tests ] && [ -e "$AGAIN" ]; then exit 2; fi
if [ -e "$AGAIN" ]; then exit 200; fi
[ "$failed" = 0 ]
