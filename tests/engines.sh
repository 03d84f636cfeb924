#!/bin/bash
# The hook under real engines: bare runc, and podman. Everything happens in a
# network and a mount namespace of its own, so it can run beside other things.
# With arguments, runs only the tests whose names contain one of them.
set -euo pipefail
# shellcheck source=tests/engine-env.sh
. "$(dirname "$0")/engine-env.sh"
# shellcheck source=tests/runner.sh
. "$(dirname "$0")/runner.sh"
# shellcheck source=tests/engines-demo.sh
. "$(dirname "$0")/engines-demo.sh"

PREFIX=oci-bind-hook-engines-
NAME=$PREFIX$$
PORT=7070
# The addresses of this network namespace.
HOST4=192.0.2.1 HOST6=2001:db8:e::1       # the host's own
CIP4=192.0.2.10 CIP6=2001:db8:e::10       # a server's
CLIENT4=192.0.2.20 CLIENT6=2001:db8:e::20 # a client's
AWAY4=203.0.113.9 AWAY6=2001:db8:f::9     # not here
only=("$@")

after_each() {
  engine rm --all --force --time 0 >/dev/null 2>&1 || true
  # The empty cgroups that podman leaves would keep their programs.
  remove_cgroup "/sys/fs/cgroup/$NAME"
}

# --- containers --------------------------------------------------------------

annotate4() { echo "--annotation=io.oci-bind-hook.ipv4=$1"; }
annotate6() { echo "--annotation=io.oci-bind-hook.ipv6=$1"; }

# podman run with our hooks.d directory.
hooked() {
  local command=$1
  shift
  engine --hooks-dir "$ENGINE_DIR/hooks.d" "$command" "${ENGINE_RUN[@]}" "$@"
}

# Runs a command in the background until it has said where its sockets are.
announced() {
  local output
  exec {output}< <("$@" 2>&1)
  announcer=$!
  said=$(read_announcement "$output") || fail "the server is not ready: $said"
}

# What the server NAME said, if it is on these two addresses and no other.
says_bound() {
  local protocol
  for protocol in tcp udp; do
    has_line "$said" "$1 $protocol 0.0.0.0 bound $2 ${4:-$PORT}"
    has_line "$said" "$1 $protocol :: bound $3 ${4:-$PORT}"
  done
}

# What a caller outside of all containers is told.
dial() { "$ENGINE_DIR/echo-client" "$1" "${3:-$PORT}" "$2" || true; }

answers() {
  local address
  for address in "${@:2}"; do
    mentions "$(dial "$address" tcp)" "$1 local="
    mentions "$(dial "$address" udp)" "$1 local="
  done
}

refuses() {
  local address
  for address in "$@"; do
    is "tcp to $address" "$(dial "$address" tcp)" refused
    is "udp to $address" "$(dial "$address" udp)" refused
  done
}

# A container that the hook refuses: podman passes on the reason, which is one
# line of ours, and neither a process nor an attachment is left.
is_refused() {
  local reason=$1 status=0
  shift
  output=$(hooked run --name refused "$@" "$ENGINE_IMAGE" echo started 2>&1) || status=$?
  echo "$output"
  [[ $status != 0 && $output != *started* ]] || fail "the container ran"
  mentions "$output" "$reason"
  nothing_runs
  nothing_attached
}

nothing_runs() {
  local procs
  while IFS= read -r -d '' procs; do
    [ -z "$(cat "$procs")" ] || fail "$procs has processes"
  done < <(find "/sys/fs/cgroup/$NAME" -name cgroup.procs -print0 2>/dev/null)
}

# The programs are pinned once, for all; `unload` keeps those that a cgroup
# uses, and the failed container's cgroup may still be there.
nothing_attached() {
  "$ENGINE_HOOK" unload
  [ -z "$(ls -A /sys/fs/bpf/oci-bind-hook 2>/dev/null)" ] ||
    fail "programs are in use: $(ls -A /sys/fs/bpf/oci-bind-hook)"
}

# --- bare runc ---------------------------------------------------------------

# A bundle with the hook: its annotations as members of a JSON object, then the
# words of its command as those of a list.
make_bundle() {
  local dir=$ENGINE_DIR/bundle
  [ -d "$dir/rootfs" ] || "$ENGINE_REPO/tests/image.sh" tree "$dir/rootfs" "$ENGINE_ECHO"
  cat >"$dir/config.json" <<END
{
  "ociVersion": "1.0.2",
  "root": { "path": "rootfs" },
  "process": {
    "user": { "uid": 0, "gid": 0 }, "cwd": "/", "env": ["PATH=/bin"],
    "args": [$2]
  },
  "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
  "annotations": { $1 },
  "hooks": {
    "createRuntime": [
      { "path": "$ENGINE_HOOK", "args": ["oci-bind-hook", "create-runtime"], "timeout": 10 }
    ]
  },
  "linux": {
    "cgroupsPath": "/$NAME/bare",
    "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "ipc" }, { "type": "uts" }]
  }
}
END
}

bare_runc() { runc --root "$ENGINE_DIR/bare" "$@" </dev/null; }

BARE_SERVER="\"echo-server\", \"bare\", \"$PORT\""

runc_assigns() {
  make_bundle "\"io.oci-bind-hook.ipv4\": \"$CIP4\", \"io.oci-bind-hook.ipv6\": \"$CIP6\"" "$BARE_SERVER"
  trap 'bare_runc delete --force bare' EXIT
  announced bare_runc run --bundle "$ENGINE_DIR/bundle" bare
  says_bound bare "$CIP4" "$CIP6"
  answers bare "$CIP4" "$CIP6"
  refuses "$HOST4" "$HOST6"
}

runc_without_annotations() {
  make_bundle '' "$BARE_SERVER"
  trap 'bare_runc delete --force bare' EXIT
  announced bare_runc run --bundle "$ENGINE_DIR/bundle" bare
  says_bound bare 0.0.0.0 ::
  answers bare "$CIP4" "$CIP6" "$HOST4" "$HOST6"
  nothing_attached
}

runc_refuses() {
  local output status=0
  make_bundle '"io.oci-bind-hook.ipv4": "192.0.2.300"' '"echo", "started"'
  output=$(bare_runc run --bundle "$ENGINE_DIR/bundle" bare 2>&1) || status=$?
  echo "$output"
  [[ $status != 0 && $output != *started* ]] || fail "the container ran"
  mentions "$output" io.oci-bind-hook.ipv4
  mentions "$output" 192.0.2.300
  is "containers" "$(bare_runc list --quiet)" ''
  nothing_runs
  nothing_attached
}

# --- podman ------------------------------------------------------------------

start_server() {
  announced hooked run --name server --network host "$(annotate4 $CIP4)" "$(annotate6 $CIP6)" \
    "$ENGINE_IMAGE" echo-server server "$PORT"
}

podman_server() {
  start_server
  says_bound server "$CIP4" "$CIP6"
  answers server "$CIP4" "$CIP6"
  refuses "$HOST4" "$HOST6"
}

host_server() { exec "$ENGINE_DIR/echo-server" host $((PORT + 1)); }

podman_leaves_others_alone() {
  start_server
  announced host_server
  # shellcheck disable=SC2064 # the process of now
  trap "kill $announcer" EXIT
  says_bound host 0.0.0.0 :: $((PORT + 1))
  # To an address of the same host, the kernel calls from that very address.
  mentions "$(dial "$CIP4" tcp)" "peer=$CIP4:"
  mentions "$(dial "$CIP6" udp)" "peer=[$CIP6]:"
}

podman_client() {
  local call address answer
  start_server
  for address in "$CIP4" "$CIP6"; do
    for call in tcp udp udp-sendto; do
      answer=$(hooked run --rm --network host "$(annotate4 $CLIENT4)" "$(annotate6 $CLIENT6)" \
        "$ENGINE_IMAGE" echo-client "$address" "$PORT" "$call")
      case $address in
        *:*) mentions "$answer" "peer=[$CLIENT6]:" ;;
        *) mentions "$answer" "peer=$CLIENT4:" ;;
      esac
    done
  done
}

podman_exec() {
  start_server
  announced engine exec server echo-server executed $((PORT + 1))
  says_bound executed "$CIP4" "$CIP6" $((PORT + 1))
  mentions "$(engine exec server echo-client "$HOST4" "$PORT" tcp || true)" refused
  mentions "$(engine exec server echo-client "$CIP6" "$PORT" udp-sendto)" "peer=[$CIP6]:"
}

# podman 4.3 may stumble over its own clean-up, with or without a hook: the
# runtime's state is then still there when it makes the container again.
restart_server() {
  local output tries
  for tries in 1 2 3; do
    if output=$(engine --hooks-dir "$ENGINE_DIR/hooks.d" restart --time 0 server 2>&1); then return; fi
    echo "try $tries: $output"
    mentions "$output" 'container with given ID already exists'
  done
  return 1
}

# The server writes to a pipe in a volume, so that both lives can be read.
podman_restart() {
  local out=$ENGINE_DIR/out first second
  mkdir -p "$out"
  rm -f "$out/said"
  mkfifo "$out/said"
  exec {output}<>"$out/said"
  hooked run --detach --name server --network host "$(annotate4 $CIP4)" "$(annotate6 $CIP6)" \
    --volume "$out:/out" "$ENGINE_IMAGE" sh -c "exec echo-server server $PORT >/out/said"
  said=$(read_announcement "$output")
  says_bound server "$CIP4" "$CIP6"
  first=$(engine inspect --format '{{.State.Pid}}' server)
  restart_server
  said=$(read_announcement "$output")
  says_bound server "$CIP4" "$CIP6"
  second=$(engine inspect --format '{{.State.Pid}}' server)
  [ "$first" != "$second" ] || fail "it was not restarted"
  refuses "$HOST4"
}

podman_without_annotations() {
  announced hooked run --name plain --network host "$ENGINE_IMAGE" echo-server plain "$PORT"
  says_bound plain 0.0.0.0 ::
  nothing_attached
}

podman_refuses_bad_value() {
  is_refused io.oci-bind-hook.ipv4 --network host "$(annotate4 192.0.2.300)"
  mentions "$output" 192.0.2.300
}

# The block `podman refused` of docs/EXAMPLES.md.
podman_is_documented() {
  local document=$ENGINE_REPO/docs/EXAMPLES.md made runtime
  runtime=$(engine info --format 'podman {{.Version.Version}}, {{.Host.OCIRuntime.Name}}')
  [[ $runtime == 'podman 4.3.'*', runc' ]] || skip "podman 4.3 with runc is shown, not $runtime"
  is_refused io.oci-bind-hook.ipv4 --network host "$(annotate4 192.0.2)"
  made="# podman run --network host --annotation io.oci-bind-hook.ipv4=192.0.2 httpd
$(sed -E 's/[0-9a-f]{64}/ID/' <<<"$output")"
  is_shown "$document" 'podman refused' "$made"
}

# is_shown DOCUMENT NAME TEXT: the example has that text; EXAMPLES=write writes it anew.
is_shown() {
  local expected=$ENGINE_DIR/expected.md
  has_line "$(<"$1")" "<!-- example: $2 -->"
  example "$@" >"$expected"
  if [ "${EXAMPLES:-}" = write ]; then cat "$expected" >"$1"; fi
  is "$1" "$(diff "$1" "$expected")" ''
}

# The document with that text in the block.
example() {
  marker="<!-- example: $2 -->" made=$3 awk '
    skipped && /^```$/ { print ENVIRON["made"]; skipped = 0 }
    !skipped { print }
    /^```/ && found { skipped = 1; found = 0 }
    $0 == ENVIRON["marker"] { found = 1 }' "$1"
}

podman_refuses_misspelt_key() {
  is_refused io.oci-bind-hook.ipv5 --network host "$(annotate4 $CIP4)" \
    --annotation "io.oci-bind-hook.ipv5=$CIP6"
}

podman_refuses_foreign_address() {
  is_refused "$AWAY4" --network host "$(annotate4 $AWAY4)"
}

# A network namespace with addresses of its own, as a pod has it. `holder` is
# the process that keeps it for the time of the test.
make_private_network() {
  local pipe
  exec {pipe}< <(exec unshare --net sh -c "
    ip link set lo up
    ip address add $AWAY4/32 dev lo
    ip address add $AWAY6/128 dev lo nodad
    echo \$\$
    exec sleep infinity")
  read -r -t "$ENGINE_DEADLINE" -u "$pipe" holder
  # shellcheck disable=SC2064 # the process of now
  trap "kill $holder" EXIT
}

podman_private_network() {
  make_private_network
  announced hooked run --name private --network "ns:/proc/$holder/ns/net" \
    "$(annotate4 $AWAY4)" "$(annotate6 $AWAY6)" "$ENGINE_IMAGE" echo-server private "$PORT"
  says_bound private $AWAY4 $AWAY6
}

podman_private_network_refuses() {
  make_private_network
  is_refused "$CIP4" --network "ns:/proc/$holder/ns/net" "$(annotate4 $CIP4)"
}

# Whoever makes an image must not choose among the host's addresses.
image_label() {
  build_image --label "io.oci-bind-hook.ipv4=$CIP4"
  runs_plain
}

image_annotation() {
  local version
  version=$(engine version --format '{{.Client.Version}}')
  printf '4.5.1\n%s\n' "$version" | sort --version-sort --check=silent ||
    skip "podman $version copies an image's annotations to its containers (fixed in 4.5.1)"
  build_image --annotation "io.oci-bind-hook.ipv4=$CIP4"
  runs_plain
}

# Our image with what the options add.
build_image() {
  mkdir -p "$ENGINE_DIR/build"
  echo "FROM $ENGINE_IMAGE" >"$ENGINE_DIR/build/Containerfile"
  engine build --quiet --tag localhost/oci-bind-hook-claims "$@" "$ENGINE_DIR/build"
}

runs_plain() {
  announced hooked run --name plain --network host localhost/oci-bind-hook-claims \
    echo-server plain "$PORT"
  says_bound plain 0.0.0.0 ::
  nothing_attached
}

# --- all of it ---------------------------------------------------------------

# What tests that were killed have left.
sweep() {
  local name pid
  for name in "/run/$PREFIX"* "/sys/fs/cgroup/$PREFIX"*; do
    name=${name##*/}
    pid=${name#"$PREFIX"}
    pid=${pid%-demo}
    [[ ! $pid =~ ^[0-9]+$ || -d /proc/$pid ]] || engine_remove "$name"
  done
}

finish() {
  local status=$?
  trap '' INT TERM HUP
  engine_remove "$NAME-demo" || status=1
  engine_remove "$NAME" || status=1
  exit "$status"
}

engine_enter own "$@"
engine_start "$NAME"
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
sweep
for address in $HOST4/32 $CIP4/32 $CLIENT4/32; do ip address add "$address" dev lo; done
for address in $HOST6/128 $CIP6/128 $CLIENT6/128; do ip address add "$address" dev lo nodad; done
addresses=$(ip -brief address show dev lo)
for link in server client; do ln -s "$ENGINE_ECHO" "$ENGINE_DIR/echo-$link"; done
engine_image
engine_hooks "$ENGINE_DIR/hooks.d"

t 'runc: a server is on its addresses and no other' runc_assigns
t 'runc: without annotations nothing changes' runc_without_annotations
t 'runc: a bad annotation stops the start, says why, leaves nothing' runc_refuses
t 'podman: a server is on its addresses and no other' podman_server
t 'podman: a client calls from its address' podman_client
t 'podman: processes outside are left alone' podman_leaves_others_alone
t 'podman: exec is under the policy' podman_exec
t 'podman: restart keeps the policy' podman_restart
t 'podman: without annotations nothing changes' podman_without_annotations
t 'podman: a bad value stops the start, says why, leaves nothing' podman_refuses_bad_value
t 'podman: what it says then is in docs/EXAMPLES.md' podman_is_documented
t 'podman: a misspelt key does' podman_refuses_misspelt_key
t 'podman: an address that the host has not does' podman_refuses_foreign_address
t 'podman: a private network works with its own address' podman_private_network
t "podman: a private network does not with the host's" podman_private_network_refuses
t 'podman: a label of the image means nothing' image_label
t 'podman: an annotation of the image means nothing' image_annotation
t 'demo: an interrupted one leaves nothing' demo_interrupted
t 'demo: one after a killed one works, and leaves nothing' demo_after_a_killed_one
t 'demo: README.md and docs/demo.svg show what it prints' demo_is_documented

counts
