#!/bin/bash
# Makes the container image of the demo and of the tests, without a registry:
# the host's static busybox, and the static program that serves and calls.
#
#   tests/image.sh tree DIR PROGRAM         the root file system alone, in DIR
#   tests/image.sh import PROGRAM PODMAN... imports it with that podman command
set -euo pipefail

IMAGE=localhost/oci-bind-hook-busybox

make_tree() {
  local dir=$1 program=$2 busybox applet
  busybox=$(command -v busybox)
  mkdir -p "$dir"/{bin,dev,etc,proc,root,run,sys,tmp}
  cp "$busybox" "$dir/bin/busybox"
  # busybox lists itself; linking that one would replace it by a loop.
  for applet in $(busybox --list); do
    [ "$applet" = busybox ] || ln -sf busybox "$dir/bin/$applet"
  done
  cp "$program" "$dir/bin/echo-server"
  ln -sf echo-server "$dir/bin/echo-client"
  echo 'root:x:0:0:root:/root:/bin/sh' >"$dir/etc/passwd"
  echo 'root:x:0:' >"$dir/etc/group"
}

import() {
  local program=$1 tree
  shift
  tree=$(mktemp -d)
  # shellcheck disable=SC2064 # the directory of now
  trap "rm -rf '$tree'" EXIT
  make_tree "$tree" "$program"
  tar -C "$tree" -c . | "$@" import --quiet - "$IMAGE" >/dev/null
}

case ${1:-} in
  tree) make_tree "$2" "$3" ;;
  import) import "${@:2}" ;;
  *)
    echo "usage: tests/image.sh tree DIR PROGRAM | tests/image.sh import PROGRAM PODMAN..." >&2
    exit 2
    ;;
esac
