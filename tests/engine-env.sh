# shellcheck shell=bash
# The environment in which podman and runc run containers, for scripts that
# source this file:
#
#   engine_enter shared|own "$@"   first of all; may start the script again
#   engine_start NAME              storage in /run/NAME, cgroups below NAME
#   engine_image                   imports the image, ENGINE_IMAGE
#   engine_hooks DIR               fills a hooks.d directory
#   engine ARGUMENT...             podman, with the storage above
#   engine run "${ENGINE_RUN[@]}"  ... and what every container needs here
#   engine_remove NAME             everything of NAME, dead or alive
#
# A host whose cgroup2 is at /sys/fs/cgroup and whose podman can raise limits
# is used as it is. Elsewhere (hybrid hosts, restricted machines) the script
# gets a mount namespace of its own with cgroup2, bpffs and /dev/shm in their
# usual places, and podman is told to do without what the machine lacks.
set -euo pipefail

# shellcheck disable=SC2034 # used by the scripts that source this file
ENGINE_IMAGE=localhost/oci-bind-hook-busybox
ENGINE_REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Nothing here takes long, on a busy machine either; a wait that does has missed
# its event.
ENGINE_DEADLINE=60
# When a podman counts as stuck that is to end.
ENGINE_STUCK=15

engine_die() { echo "$(basename "$0" .sh): $*" >&2; exit 1; }

is_unified() { [ "$(stat --file-system --format %T /sys/fs/cgroup 2>/dev/null)" = cgroup2fs ]; }

# Whether limits can be raised (CAP_SYS_RESOURCE is bit 24), as engines try to.
can_raise_limits() {
  local effective
  effective=$(awk '$1 == "CapEff:" { print $2 }' /proc/self/status)
  (((0x$effective >> 24) & 1))
}

# Packages and programs, then the namespaces. With `shared` the script keeps
# the host's network, and the host's mounts too where they suit podman; with
# `own` it has both for itself. It is started again in them by exec, so it
# keeps its process id, and signals find it.
engine_enter() {
  local how=$1
  shift
  [ "$(id -u)" = 0 ] || engine_die "must be root (with sudo: sudo env PATH=\"\$PATH\" ...)"
  find_programs
  if [ "${ENGINE_NAMESPACE:-}" = $$ ]; then
    mount_private "$how"
    return
  fi
  # Before the network is out of reach.
  "$ENGINE_REPO/tests/setup.sh"
  build_programs
  [ "$how" = own ] || ! is_unified || return 0
  local flags=(--mount --propagation private)
  [ "$how" = shared ] || flags+=(--net)
  ENGINE_NAMESPACE=$$ exec unshare "${flags[@]}" -- bash "$0" "$@"
}

# Where the programs are: ENGINE_HOOK, which can be given to try an installed
# binary, and ENGINE_ECHO, the static server and client.
find_programs() {
  local target
  target=$(cd "$ENGINE_REPO" && cargo metadata --format-version 1 --no-deps --offline |
    sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
  ENGINE_HOOK=${OCI_BIND_HOOK:-$target/release/oci-bind-hook}
  ENGINE_ECHO=$target/release/echo-server
}

build_programs() {
  local hook=build
  [ -z "${OCI_BIND_HOOK:-}" ] || hook=
  # shellcheck disable=SC2086 # a target or none
  make --silent -C "$ENGINE_REPO" $hook build-echo
}

mount_private() {
  is_unified || mount -t cgroup2 none /sys/fs/cgroup ||
    engine_die "cannot mount cgroup2: this kernel has no cgroup v2, which the hook needs"
  mount -t bpf none /sys/fs/bpf ||
    engine_die "cannot mount bpffs on /sys/fs/bpf: this kernel has no BPF, which the hook needs"
  mount -t tmpfs -o mode=1777 none /dev/shm
  if [ "$1" = own ]; then
    echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6 2>/dev/null || true
    ip link set lo up
  fi
}

# Puts storage in /run/NAME and sets ENGINE (podman and its options) and
# ENGINE_RUN (the options of `podman run` and `podman create`). vfs is the one
# storage driver that works on every file system, and the image is small.
engine_start() {
  ENGINE_DIR=/run/$1
  mkdir -p "$ENGINE_DIR"
  ENGINE=(podman --root "$ENGINE_DIR/root" --runroot "$ENGINE_DIR/runroot" --tmpdir "$ENGINE_DIR/tmp"
    --storage-driver vfs --events-backend file)
  ENGINE_RUN=(--log-driver k8s-file --security-opt label=disable)
  local manager=cgroupfs
  if can_raise_limits && [ -z "${ENGINE_NAMESPACE:-}" ]; then
    manager=$(engine info --format '{{.Host.CgroupManager}}')
  else
    ENGINE+=(--runtime "${ENGINE_RUNTIME:-runc}" --cgroup-manager cgroupfs
      --runtime-flag "root=$ENGINE_DIR/runtime")
  fi
  can_raise_limits || ENGINE_RUN+=(--ulimit nofile=1024:1024 --ulimit nproc=1024:1024)
  grep -qw pids /sys/fs/cgroup/cgroup.controllers || ENGINE_RUN+=(--pids-limit 0)
  ENGINE_RUN+=(--cgroup-parent "$(cgroup_parent "$manager" "$1")")
}

# A slice's dashes would nest it.
cgroup_parent() {
  if [ "$1" = systemd ]; then echo "${2//-/}.slice"; else echo "/$2"; fi
}

# Descriptor 9 is for the lock of a script. Containers must not inherit it: one
# that outlives a killed script would keep the lock.
engine() { "${ENGINE[@]}" "$@" </dev/null 9<&-; }

engine_image() { "$ENGINE_REPO/tests/image.sh" import "$ENGINE_ECHO" "${ENGINE[@]}" 9<&-; }

# The shipped hooks.d file, pointed at the binary that was built.
engine_hooks() {
  mkdir -p "$1"
  sed "s|/usr/libexec/oci/hooks.d/oci-bind-hook|$ENGINE_HOOK|" \
    "$ENGINE_REPO/config/oci-bind-hook.json" >"$1/oci-bind-hook.json"
  grep -qF "\"$ENGINE_HOOK\"" "$1/oci-bind-hook.json" ||
    engine_die "config/oci-bind-hook.json names another binary than expected"
}

# Prints what a server says on descriptor $1 about its sockets; waits until it
# is ready (status 0) or has failed.
read_announcement() {
  local line
  while IFS= read -r -t "$ENGINE_DEADLINE" -u "$1" line; do
    echo "$line"
    case $line in
      *" ready") return 0 ;;
      *" failed") return 1 ;;
    esac
  done
  return 1
}

# Removes all that was made under NAME, whether by this script or by one that
# was killed: containers, cgroups, mounts, storage.
engine_remove() {
  local name=$1 dir=/run/$1 status=0
  end_containers "$name"
  if [ -d "$dir/root" ] && [ "$dir" = "$ENGINE_DIR" ]; then
    # Gives back podman's locks; a killed script's containers may be past that.
    timeout "$ENGINE_STUCK" "${ENGINE[@]}" rm --all --force --time 0 </dev/null >/dev/null 2>&1 || true
    end_containers "$name"
  fi
  for_each_cgroup "$name" remove_cgroup || status=1
  unmount_below "$dir"
  rm -rf --one-file-system "$dir"
  # runc's default place, which podman makes even if told to use another.
  rmdir /run/runc 2>/dev/null || true
  return "$status"
}

# The cgroup is NAME under podman's own cgroup manager, a slice under systemd.
for_each_cgroup() { "$2" "/sys/fs/cgroup/$1" && "$2" "/sys/fs/cgroup/$(cgroup_parent systemd "$1")"; }

# Ends the containers, again and again until podman and conmon are gone: both
# have the storage's path among their arguments. Once would miss a container
# that podman is about to make. A podman whose container vanished without its
# knowledge waits for ever, and is killed.
end_containers() {
  local pid deadline=$((SECONDS + ENGINE_STUCK))
  for_each_cgroup "$1" kill_cgroup
  while pid=$(pgrep --oldest --full -- "^[^ ]*(podman|conmon) .*/run/$1/"); do
    [ "$SECONDS" -lt "$deadline" ] || kill -KILL "$pid"
    timeout 0.2 tail --pid="$pid" --sleep-interval=0.02 -f /dev/null || for_each_cgroup "$1" kill_cgroup
  done
}

# Ends every process of a cgroup of ours and below.
kill_cgroup() {
  local procs pid
  [ -d "$1" ] || return 0
  if [ -e "$1/cgroup.kill" ]; then
    echo 1 >"$1/cgroup.kill"
    return
  fi
  while IFS= read -r -d '' procs; do
    while read -r pid; do kill -KILL "$pid" 2>/dev/null || true; done <"$procs"
  done < <(find "$1" -name cgroup.procs -print0)
}

# podman leaves empty cgroups behind, and an empty cgroup keeps its programs.
# The kernel lets go of dead processes a moment late: hence several tries.
remove_cgroup() {
  local deadline=$((SECONDS + ENGINE_DEADLINE))
  while [ "$SECONDS" -lt "$deadline" ]; do
    [ -d "$1" ] || return 0
    find "$1" -depth -type d -exec rmdir {} + 2>/dev/null || true
    [ ! -d "$1" ] || sleep 0.05
  done
  echo "cannot remove $1" >&2
  return 1
}

unmount_below() {
  local mounted
  while read -r mounted; do
    umount --lazy "$mounted"
  done < <(awk -v dir="$1/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r)
}
