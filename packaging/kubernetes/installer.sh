#!/bin/sh
# Installs the hook on the node whose directories are below /host, or removes it.
#   install      installs it and waits for SIGTERM, which leaves it installed
#   remove       removes it and waits for SIGTERM
#   installed    succeeds if the node's files are the same as this image's
#   removed      succeeds if none of the files is left on the node
# Engines ignore a hooks.d file whose binary is missing, and start annotated
# containers without a policy. So the binary is installed first and removed last,
# and each file is renamed into place.
set -eu
umask 022
PATH=/bin

IMAGE=/hook
BINARY=/usr/libexec/oci/hooks.d/oci-bind-hook
HOOKS_D=/usr/share/containers/oci/hooks.d/oci-bind-hook.json

say() { echo "oci-bind-hook: $*"; }
die() { say "$*" >&2; exit 1; }
# give_up FILE MESSAGE: fails, and leaves no partial file on the node.
give_up() { rm -f "$(new "$1")" || true; die "$2"; }

is_same() { cmp -s "$IMAGE/${1##*/}" "/host$1"; }

# In the file's own directory; engines read only *.json.
new() { echo "/host${1%/*}/.${1##*/}.new"; }

# Synced to disk before the rename: a crash must not leave an empty file in place.
write() {
  rm -f "$(new "$1")" && cp "$IMAGE/${1##*/}" "$(new "$1")" && sync "$(new "$1")"
}

# Leaves a file alone that is already the same.
put() {
  ! is_same "$1" || return 0
  write "$1" || give_up "$1" "cannot write ${1%/*} on the node: is it read-only, or guarded by SELinux?"
  # A binary that the node cannot run would keep every annotated container from starting.
  [ "$1" != "$BINARY" ] || "$(new "$1")" --version ||
    give_up "$1" "the node cannot run $1: is ${1%/*} mounted noexec?"
  mv -f "$(new "$1")" "/host$1"
}

take() {
  rm -f "/host$1" "$(new "$1")" ||
    die "cannot remove $1 on the node: is ${1%/*} read-only, or guarded by SELinux?"
}

# Keeps running, so that the probes work and the DaemonSet does not restart it.
stay() {
  say "$1"
  sleep infinity &
  wait $!
}

# PID 1 gets only the signals that it handles.
trap 'exit 0' TERM INT

case ${1:-} in
  install)
    put "$BINARY"
    put "$HOOKS_D"
    stay "installed on this node"
    ;;
  remove)
    take "$HOOKS_D"
    take "$BINARY"
    stay "removed from this node"
    ;;
  installed) is_same "$BINARY" && is_same "$HOOKS_D" ;;
  removed) [ ! -e "/host$HOOKS_D" ] && [ ! -e "/host$BINARY" ] ;;
  *) die 'usage: installer install | remove | installed | removed' ;;
esac
