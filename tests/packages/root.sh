# shellcheck shell=bash
# Clean systems and containers in them, for tests/packages.sh, which sources
# this file.
set -euo pipefail

NAME=oci-bind-hook
# shellcheck disable=SC2034 # for the files that are sourced besides
CIP=192.0.2.10 OTHER=192.0.2.20
HOOKS_D=/usr/share/containers/oci/hooks.d/$NAME.json
BINARY=/usr/libexec/oci/hooks.d/$NAME
# shellcheck disable=SC2034
CONFIG=/etc/$NAME/config.toml
CGROUPS=/sys/fs/cgroup/unified
FIRST=libpod-$(printf '%063x1' $$).scope
SECOND=libpod-$(printf '%063x2' $$).scope

# fresh_root SUITE: a system at $R, with what its kernel shows. Its root is a
# mount, as a system's is: check makes the mounts its own.
fresh_root() {
  leave_root
  R=$WORK/root
  mkdir "$R"
  mount -t tmpfs -o mode=755 none "$R"
  tar --extract --file "$(tests/packages/system.sh "$1")" --directory "$R"
  mount -t proc proc "$R/proc"
  mount -t sysfs sys "$R/sys"
  mount -t tmpfs none "$R/sys/fs/cgroup"
  mkdir "$R/sys/fs/cgroup/unified"
  mount -t cgroup2 none "$R/sys/fs/cgroup/unified"
  mount -t bpf none "$R/sys/fs/bpf"
  mount -t devtmpfs none "$R/dev" 2>/dev/null || mount --bind /dev "$R/dev"
}

leave_root() {
  [ -n "${R:-}" ] || return 0
  end_processes
  umount --recursive "$R"
  rmdir "$R"
  R=
}

in_root() { PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$R" "$@"; }

# --- containers, as an engine makes them -------------------------------------

# start_container CGROUP ADDRESS: its first process waits in a cgroup of its
# own; the hook is run as the installed hooks.d file says.
start_container() {
  local cgroup=$CGROUPS/$1 id path
  id=${1#libpod-}
  mkdir "$R$cgroup"
  sleep infinity &
  echo $! >"$R$cgroup/cgroup.procs"
  path=$(sed -n 's/.*"path": "\(.*\)".*/\1/p' "$R$HOOKS_D")
  in_root "$path" create-runtime <<END
{ "ociVersion": "1.0.2", "id": "${id%.scope}", "status": "creating", "pid": $!, "bundle": "/",
  "annotations": { "io.oci-bind-hook.ipv4": "$2" } }
END
}

end_processes() {
  local cgroup
  for cgroup in "$R$CGROUPS/$FIRST" "$R$CGROUPS/$SECOND"; do
    [ -d "$cgroup" ] || continue
    while read -r pid; do
      kill -KILL "$pid"
      wait "$pid" 2>/dev/null || tail --pid "$pid" --follow /dev/null
    done <"$cgroup/cgroup.procs"
    rmdir "$cgroup"
  done
}

# is_at CGROUP ADDRESS: a server there that binds to 0.0.0.0 is at the address.
is_at() {
  # shellcheck disable=SC2016 # for the shell in the cgroup
  is "a server of $1" "$2" "$(bash -c 'echo $$ >"$1" && exec python3 -c "
import socket
server = socket.socket()
server.bind((\"0.0.0.0\", 0))
print(server.getsockname()[0])"' _ "$R$CGROUPS/$1/cgroup.procs")"
}

pinned_versions() { find "$R/sys/fs/bpf/$NAME" -mindepth 1 -maxdepth 1 -type d 2>/dev/null | wc -l; }

# --- what comes and goes -----------------------------------------------------

# watch ROOT LOG: from now on each coming and going of the binary and of the
# hooks.d file is a line of LOG.
watch() {
  watched=$1 log=$2
  rm -rf "$WORK/end"
  mkdir -p "$1${BINARY%/*}" "$1${HOOKS_D%/*}" "$WORK/end"
  inotifywait --monitor --format '%e %w%f' --event create,delete,move \
    "$1${BINARY%/*}" "$1${HOOKS_D%/*}" "$WORK/end" >"$log" 2>&1 &
  watcher=$!
  is_logged 'Watches established.'
}

# seen BINARY HOOKS_D: ends the watch, and replays it. 1 is for what was there
# at its begin; engines ignore a hooks.d file whose binary is missing.
seen() {
  touch "$WORK/end/$BASHPID"
  is_logged "CREATE $WORK/end/$BASHPID"
  kill $watcher
  wait $watcher || true
  cat "$log"
  awk -v binary="$watched$BINARY" -v hooks="$watched$HOOKS_D" -v b="$1" -v h="$2" '
    $2 == binary { b = $1 ~ /CREATE|MOVED_TO/; changes++ }
    $2 == hooks { h = $1 ~ /CREATE|MOVED_TO/; changes++ }
    h && !b { print "the hooks.d file is without its binary at " $0; exit 1 }
    END { print changes + 0 " changes" }' "$log"
}

# never_gone: neither of the two was missing during the watch.
never_gone() {
  ! grep -E "^(DELETE|MOVED_FROM) $watched($BINARY|$HOOKS_D)\$" "$log" || fail 'one of the two was gone'
}

is_logged() {
  grep --quiet --max-count=1 --line-regexp --fixed-strings -- "$1" \
    < <(timeout 60 tail --follow --lines=+1 "$log") || fail "inotifywait did not see: $1"
}
