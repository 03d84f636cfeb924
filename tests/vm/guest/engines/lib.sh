# shellcheck shell=bash
# What the engine tests share: the network, calls, and what must not be left.
#
#   try NAME FUNCTION...   a test, after which nothing of ours may be left; an
#                          engine's file defines `clean`, which removes its containers
#   serves [COMMAND...]    there is a server at CIP4 and CIP6 and nowhere else;
#                          COMMAND runs a program beside it, as `podman exec` does,
#                          and calls a peer outside, which sees CIP4 and CIP6
# shellcheck disable=SC2034 # for the engines' files
set -euo pipefail

export PATH=$PATH:/payload/tests
IMAGE=localhost/oci-bind-hook-busybox
PORT=7070 PEER_PORT=7071
HOST4=192.0.2.1 HOST6=2001:db8:e::1     # the host's own
CIP4=192.0.2.10 CIP6=2001:db8:e::10     # a container's
OTHER4=192.0.2.20 OTHER6=2001:db8:e::20 # another one's
PEER4=192.0.2.99 PEER6=2001:db8:e::99   # of a machine outside: a network namespace
AWAY4=203.0.113.9 AWAY6=2001:db8:f::9   # nobody's
# Emulation is slow, and slower with others beside it.
DEADLINE=60
ANNOTATED=(--annotation "io.oci-bind-hook.ipv4=$CIP4" --annotation "io.oci-bind-hook.ipv6=$CIP6")
# There if another boot has been asked for: what is to be done then.
AGAIN=/var/lib/containers/oci-bind-hook-again

# The network, a service, is there before engines start what has to run.
up_network() {
  local address
  ip netns add peer
  ip link add host0 type veth peer name peer0 netns peer
  for address in $HOST4 $CIP4 $OTHER4; do ip address add $address/24 dev host0; done
  for address in $HOST6 $CIP6 $OTHER6; do ip address add $address/64 dev host0 nodad; done
  ip -n peer address add $PEER4/24 dev peer0
  ip -n peer address add $PEER6/64 dev peer0 nodad
  ip link set lo up
  ip link set host0 up
  ip -n peer link set peer0 up
}

start_peer() {
  ln -sf echo-server /payload/tests/echo-client
  nsenter --net=/run/netns/peer echo-server peer $PEER_PORT >/dev/null &
}

# until_ok COMMAND...: tries again until it succeeds or the deadline is over.
until_ok() {
  local deadline=$((SECONDS + DEADLINE))
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || fail "still failing after $DEADLINE s: $*"
    sleep 0.2
  done
}

# What a caller outside is told: dial ADDRESS tcp|udp [PORT]
dial() { nsenter --net=/run/netns/peer echo-client "$1" "${3:-$PORT}" "$2" || true; }

answers() { [[ $(dial "$@") == *" local="* ]]; }

# Nothing at these addresses.
refuses() {
  local address protocol
  for address in "$@"; do
    for protocol in tcp udp; do is "$protocol to $address" "$(dial "$address" $protocol)" refused; done
  done
}

serves() {
  # The last socket that the server makes.
  until_ok answers $CIP6 udp
  for address in $CIP4 $CIP6; do
    for protocol in tcp udp; do mentions "$(dial $address $protocol)" " local="; done
  done
  refuses $HOST4 $HOST6 $OTHER4 $OTHER6
  [ $# = 0 ] || calls_from_its_addresses "$@"
}

# Each kind of call to the peer, over either family.
# shellcheck disable=SC2016 # for the shell in the container
CALLS="for call in tcp udp udp-sendto; do
  for address in $PEER4 $PEER6; do echo-client \$address $PEER_PORT \$call; done
done"

calls_from_its_addresses() { seen_as $CIP4 $CIP6 "$("$@" sh -c "$CALLS" 2>&1)"; }

# seen_as IPV4 IPV6 TEXT: what CALLS printed: the peer tells whom it saw. Something
# is attached then, or it would say nothing that nothing is later.
seen_as() {
  [ -n "$(governed)" ] || fail 'nothing is attached'
  is 'calls seen over IPv4' "$(grep -cF "peer=$1:" <<<"$3")" 3
  is 'calls seen over IPv6' "$(grep -cF "peer=[$2]:" <<<"$3")" 3
}

# What podman imported, for the others.
SAVED_IMAGE=/tmp/image.tar

import_image() {
  podman --version
  image.sh import /payload/tests/echo-server podman
  podman save --quiet --output $SAVED_IMAGE $IMAGE
}

# refused REASON COMMAND...: a container that does not start; the hook says why
# in the journal, since crun throws its standard error away. What the engine
# said is left in OUTPUT.
refused() {
  local reason=$1 status=0 said
  shift
  said=$(journal | wc -l)
  OUTPUT=$("$@" 2>&1) || status=$?
  echo "$OUTPUT"
  [[ $status != 0 && $OUTPUT != *started* ]] || fail 'the container ran'
  mentions "$(journal | tail -n +$((said + 1)))" "$reason"
  nothing_governed || fail "attached: $(governed)"
}

# runs_anew PID COMMAND...: COMMAND prints another process id, of one that runs.
runs_anew() {
  local now
  now=$("${@:2}")
  [ "$now" != 0 ] && [ "$now" != "$1" ]
}

# --- what is attached --------------------------------------------------------

# Our programs have the names of their pins. Engines and systemd attach others.
our_programs() {
  find /sys/fs/bpf/oci-bind-hook -type f ! -name policy ! -name counters ! -name 'dual*' ! -name 'steer-*' -printf '%f\n'
}

# The cgroups that have programs of ours.
governed() {
  bpftool --json cgroup tree | jq --raw-output --arg names "$(our_programs)" '
    ($names | split("\n")) as $ours
    | .[] | select(any(.programs[]?; .name | IN($ours[]))) | .cgroup'
}

nothing_governed() { [ -z "$(governed)" ]; }

# The pins, and how many maps go by the names of ours. Those of network namespaces
# stay for the next container there, or go with the next one anywhere.
kept() {
  find /sys/fs/bpf/oci-bind-hook ! -name 'steer-*' | sort
  bpftool --json map list | jq --raw-output '.[].name' | grep -cixE 'policy|counters|dual|dual_counts' || true
}

nothing_left() {
  until_ok nothing_governed
  is 'pins and maps' "$(kept)" "$KEPT"
}

# After a reset, what is pinned is what this boot has made, and goes.
nothing_left_of_before() {
  local found
  nothing_governed || fail "attached: $(governed)"
  is 'cgroups that status shows' "$(policies)" 0
  found=$(kept)
  oci-bind-hook unload
  [ ! -e /sys/fs/bpf/oci-bind-hook ] || fail "left: $(find /sys/fs/bpf/oci-bind-hook)"
  oci-bind-hook load
  is 'pins and maps' "$found" "$(kept)"
}

# How many cgroups are under a policy.
policies() { oci-bind-hook status --json | jq '.cgroups | length'; }

# --- tests -------------------------------------------------------------------

try() {
  local name=$1
  shift
  attempt=("$@")
  t "$name" attempted
}

attempted() {
  "${attempt[@]}"
  clean
  nothing_left
}

after_each() { clean >/dev/null 2>&1 || true; }

# What the hook has said.
journal() { journalctl --quiet --identifier oci-bind-hook --output cat; }
