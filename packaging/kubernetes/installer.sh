#!/bin/sh
# Puts the hook on the node whose directories are below /host, or takes it away.
#   install      puts it there, and waits for SIGTERM, which leaves it there
#   remove       takes it away, and waits for SIGTERM
#   installed    is what the node has the same as what this image has?
#   removed      is nothing of it left on the node?
# Engines ignore a hooks.d file whose binary is missing, and start annotated
# containers without a policy. So the binary comes first and goes last, and a
# rename puts each in its place.
set -eu
umask 022
PATH=/bin

IMAGE=/hook
BINARY=/usr/libexec/oci/hooks.d/oci-bind-hook
HOOKS_D=/usr/share/containers/oci/hooks.d/oci-bind-hook.json

say() { echo "oci-bind-hook: $*"; }
die() { say "$*" >&2; exit 1; }
# give_up FILE MESSAGE: leaves nothing half done on the node.
give_up() { rm -f "$(new "$1")" || true; die "$2"; }

is_same() { cmp -s "$IMAGE/${1##*/}" "/host$1"; }

# Beside the file's place; engines read *.json alone.
new() { echo "/host${1%/*}/.${1##*/}.new"; }

# On the disk before it is in its place: a crash must not leave an empty file there.
write() {
  rm -f "$(new "$1")" && cp "$IMAGE/${1##*/}" "$(new "$1")" && sync "$(new "$1")"
}

# What is the same already is left alone.
put() {
  ! is_same "$1" || return 0
  write "$1" || give_up "$1" "cannot write ${1%/*} on the node: is it read-only, or guarded by SELinux?"
  # What the node cannot run would keep each annotated container from starting.
  [ "$1" != "$BINARY" ] || "$(new "$1")" --version ||
    give_up "$1" "the node cannot run $1: is ${1%/*} mounted noexec?"
  mv -f "$(new "$1")" "/host$1"
}

take() {
  rm -f "/host$1" "$(new "$1")" ||
    die "cannot remove $1 on the node: is ${1%/*} read-only, or guarded by SELinux?"
}

# The probes have something to ask, and the DaemonSet no reason to start again.
stay() {
  say "$1"
  sleep infinity &
  wait $!
}

# A process with the id 1 gets no signal that it does not ask for.
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
