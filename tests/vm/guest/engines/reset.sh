#!/bin/bash
# A createRuntime hook that resets the machine, as a power cut does, and asks
# for another boot first.
# Usage: reset.sh loading    when our hook, which comes after this one, has
#                            pinned some of the programs and not all
#        reset.sh attached   at once, if our hook has attached them
set -euo pipefail
# shellcheck source=tests/vm/guest/engines/lib.sh
. "$(dirname "$0")/lib.sh"

reset() {
  # Each is written out before its device is closed, or set.
  stty -F /dev/ttyS1 raw
  echo 200 >/dev/ttyS2
  echo b >/proc/sysrq-trigger
}

case $1 in
  loading)
    (
      # No program in between, which could be too slow.
      until compgen -G '/sys/fs/bpf/oci-bind-hook/*-new/*' >/dev/null; do :; done
      reset
    ) </dev/null >/dev/null 2>&1 &
    ;;
  attached)
    [ -n "$(governed)" ]
    reset
    ;;
esac
