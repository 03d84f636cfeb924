#!/bin/bash
# Resets the machine, as a power cut does, and asks for another boot first.
# Usage: reset.sh loading    in the middle of our hook, by at-pin, if it has pinned
#                            some of the programs and not all
#        reset.sh attached   as a createRuntime hook that comes after ours, if that
#                            has attached them
set -euo pipefail
# shellcheck source=tests/vm/guest/engines/lib.sh
. "$(dirname "$0")/lib.sh"

case $1 in
  loading) compgen -G '/sys/fs/bpf/oci-bind-hook/*-new/*' >/dev/null ;;
  attached) [ -n "$(governed)" ] ;;
esac
# Each is written out before its device is closed, or set.
stty -F /dev/ttyS1 raw
echo 200 >/dev/ttyS2
echo b >/proc/sysrq-trigger
