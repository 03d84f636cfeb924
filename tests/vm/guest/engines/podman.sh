# shellcheck shell=bash
# podman, with crun and with runc, through hooks.d and systemd's cgroups.
set -euo pipefail
# shellcheck source=tests/vm/guest/engines/podman-boots.sh
. ./podman-boots.sh

clean_podman() {
  podman pod rm --all --force --time 0
  podman rm --all --force --time 0
  podman network rm --force shop >/dev/null 2>&1 || true
  ip -n peer link delete peer1 2>/dev/null || true
  ip netns delete box 2>/dev/null || true
}

# podman with the runtime of the tests under way.
with() { podman --runtime "$runtime" "$@"; }

# server [OPTION...]: the container `server`, with both annotations.
server() {
  with run --detach --name server "${ANNOTATED[@]}" "$@" "$IMAGE" echo-server server $PORT
}

host_server() { server --network host "$@"; }

# --- where a policy holds ----------------------------------------------------

annotation() {
  host_server
  serves podman exec server
}

executed() {
  host_server
  podman exec --detach server echo-server more $((PORT + 2))
  until_ok answers $CIP6 udp $((PORT + 2))
  is 'the host at that port' "$(dial $HOST4 tcp $((PORT + 2)))" refused
}

server_pid() { podman inspect --format '{{.State.Pid}}' server; }

restarted() {
  local first
  host_server
  first=$(server_pid)
  with restart --time 0 server
  runs_anew "$first" server_pid || fail 'it was not restarted'
  serves podman exec server
}

restart_policy() {
  local first
  host_server --restart always
  first=$(server_pid)
  kill -KILL "$first"
  until_ok runs_anew "$first" server_pid
  serves podman exec server
}

# podman puts the container below the unit that it runs in.
split() {
  systemd-run --quiet --unit split-server --property Delegate=yes --service-type notify \
    --property NotifyAccess=all --collect -- \
    podman --runtime "$runtime" run --cgroups split --sdnotify conmon --detach --name server \
    --network host "${ANNOTATED[@]}" "$IMAGE" echo-server server $PORT
  serves podman exec server
  mentions "$(governed)" split-server.service/libpod-payload-
}

# A network namespace with two addresses, of which one is the container's.
private_network() {
  local own=198.51.100.2 own6=2001:db8:b::2
  ip netns add box
  ip link add box0 netns box type veth peer name peer1 netns peer
  ip -n box link set lo up
  ip -n box link set box0 up
  ip -n peer link set peer1 up
  for address in 198.51.100.1/24 $own/24; do ip -n box address add $address dev box0; done
  for address in 2001:db8:b::1/64 $own6/64; do ip -n box address add $address dev box0 nodad; done
  ip -n peer address add 198.51.100.99/24 dev peer1
  ip -n peer address add 2001:db8:b::99/64 dev peer1 nodad
  with run --detach --name server --network ns:/run/netns/box --annotation io.oci-bind-hook.ipv4=$own \
    --annotation io.oci-bind-hook.ipv6=$own6 "$IMAGE" echo-server server $PORT
  until_ok answers $own6 udp
  mentions "$(dial $own tcp)" ' local='
  refuses 198.51.100.1 2001:db8:b::1
  mentions "$(podman exec server echo-client 198.51.100.99 $PEER_PORT tcp)" "peer=$own:"
  mentions "$(podman exec server echo-client 2001:db8:b::99 $PEER_PORT udp)" "peer=[$own6]:"
}

# podman configures such a container's network after the hooks have run.
network_after_the_hooks() {
  local own=198.51.100.2 said
  said=$(journal | wc -l)
  # The calls come from this host.
  export NETAVARK_FW=none
  podman network create --subnet 198.51.100.0/24 --disable-dns shop
  with run --detach --name server --uidmap 0:100000:65536 --gidmap 0:100000:65536 \
    --network shop:ip=$own --annotation io.oci-bind-hook.ipv4=$own "$IMAGE" echo-server server $PORT
  until_ok reached $own
  mentions "$(journal | tail -n +$((said + 1)))" "goes on without $own: the network namespace has only loopback"
  # The server is at its address alone.
  nsenter --net --target "$(server_pid)" ip address add 198.51.100.3/24 dev eth0
  is 'another address' "$(echo-client 198.51.100.3 $PORT tcp || true)" refused
}

# reached ADDRESS: by a caller on the host.
reached() { [[ $(echo-client "$1" $PORT tcp || true) == *" local="* ]]; }

systemd_reloads() {
  host_server
  serves
  systemctl daemon-reload
  serves podman exec server
  systemctl daemon-reexec
  serves podman exec server
  podman update --pids-limit 100 --memory 64m server
  systemctl daemon-reload
  serves podman exec server
}

# A whole system in the container: that of the machine's own image.
system() {
  cat >/run/inner.service <<END
[Service]
ExecStart=/payload/tests/echo-server inner $PORT
END
  with run --detach --name server --network host --systemd always "${ANNOTATED[@]}" \
    --volume /payload/tests:/payload/tests:ro --volume /run/inner.service:/etc/systemd/system/inner.service:ro \
    --env PATH="$PATH" --rootfs /image:O /lib/systemd/systemd --unit=inner.service
  serves podman exec server
  is 'the first process' "$(podman exec server cat /proc/1/comm)" systemd
}

# --- checkpoints -------------------------------------------------------------

checkpointed() {
  host_server
  serves
  with container checkpoint server ||
    skip "criu: $(grep -h Error "$(podman inspect --format '{{.OCIConfigPath}}' server | xargs dirname)/dump.log" | head -n 1)"
  nothing_governed || fail "attached: $(governed)"
}

# crun runs no hooks then: what was bound stays where it was, the rest is the
# host's, until somebody attaches the policy.
restored_by_crun() {
  checkpointed
  with container restore server
  nothing_governed || fail "crun runs hooks at a restore: say so"
  serves
  mentions "$(podman exec server echo-client $PEER4 $PEER_PORT tcp)" "peer=$HOST4:"
  oci-bind-hook attach --pid "$(server_pid)" --ipv4 $CIP4 --ipv6 $CIP6
  serves podman exec server
}

# runc runs them, with a state that says `stopped`.
restored_by_runc() {
  checkpointed
  refused 'container is stopped' with container restore server
}

# --- pods --------------------------------------------------------------------

# pod ANNOTATIONS CONTAINER:PORT...: its YAML; annotations are lines.
pod() {
  local annotations=$1 container
  shift
  cat <<END
apiVersion: v1
kind: Pod
metadata:
  name: shop
  annotations:
$annotations
spec:
  hostNetwork: true
  containers:
END
  for container; do
    cat <<END
  - name: ${container%:*}
    image: $IMAGE
    imagePullPolicy: Never
    command: [echo-server, ${container%:*}, "${container#*:}"]
END
  done
}

played() {
  pod "    io.oci-bind-hook.ipv4: $CIP4
    io.oci-bind-hook.ipv6: $CIP6" web:$PORT >/tmp/pod.yaml
  with kube play /tmp/pod.yaml
  serves podman exec shop-web
}

two_in_a_pod() {
  with pod create --name shop --network host
  server --pod shop
  with run --detach --name second --pod shop --annotation "io.oci-bind-hook.ipv4=$OTHER4" \
    --annotation "io.oci-bind-hook.ipv6=$OTHER6" "$IMAGE" echo-server second $PORT
  until_ok answers $CIP6 udp
  until_ok answers $OTHER6 udp
  for protocol in tcp udp; do
    for address in $CIP4 $CIP6; do mentions "$(dial $address $protocol)" 'server local='; done
    for address in $OTHER4 $OTHER6; do mentions "$(dial $address $protocol)" 'second local='; done
  done
  refuses $HOST4 $HOST6
  calls_from_its_addresses podman exec server
  seen_as $OTHER4 $OTHER6 "$(podman exec second sh -c "$CALLS" 2>&1)"
}

# Nothing in the state of podman's container says what it is called in its pod.
played_by_name() {
  pod "    io.oci-bind-hook.ipv4/container.web: $CIP4" web:$PORT db:$PORT >/tmp/pod.yaml
  refused 'has no name' with kube play /tmp/pod.yaml
}

# The example in docs/examples, with the image and the addresses of these tests (CIP4 is
# in it already): quadlet_file RUNTIME PORT
quadlet_file() {
  sed -e "s|^Image=.*|Image=$IMAGE|" -e "s/2001:db8::10$/$CIP6/" \
    -e "/^Image=/a ContainerName=quadlet\nGlobalArgs=--runtime=$1\nExec=echo-server quadlet $2\nStopSignal=KILL" \
    web.container
}

quadlet() {
  mkdir -p /etc/containers/systemd
  quadlet_file "$runtime" $PORT >/etc/containers/systemd/quadlet.container
  systemctl daemon-reload
  systemctl start quadlet
  serves podman exec quadlet
  systemctl restart quadlet
  serves podman exec quadlet
  mentions "$(governed)" quadlet.service/libpod-payload-
  systemctl stop quadlet
  rm /etc/containers/systemd/quadlet.container
  systemctl daemon-reload
}

# --- what is refused ---------------------------------------------------------

bad_annotation() {
  refused "192.0.2.300" with run --network host --annotation io.oci-bind-hook.ipv4=192.0.2.300 "$IMAGE" echo started
  # The others pass it on.
  [ "$runtime" = crun ] || mentions "$OUTPUT" 192.0.2.300
}

# podman does not even ask runc for that.
no_cgroup() {
  [ "$runtime" = crun ] || skip "podman refuses it by itself: runc cannot do it"
  refused 'also holds oci-bind-hook itself' with run --cgroups disabled --network host "${ANNOTATED[@]}" "$IMAGE" echo started
}

# A user without a session, whose unit may have cgroups below it.
as_tester() {
  systemd-run --quiet --pipe --wait --collect --uid tester --working-directory /home/tester \
    --property Delegate=yes --setenv HOME=/home/tester \
    podman --runtime "$runtime" --storage-driver vfs --cgroup-manager cgroupfs "$@"
}

rootless() {
  if ! id tester >/dev/null 2>&1; then
    echo 'tester:x:1000:1000::/home/tester:/bin/sh' >>/etc/passwd
    echo 'tester:x:1000:' >>/etc/group
    echo 'tester:100000:65536' | tee -a /etc/subuid >>/etc/subgid
    install -d -o tester -g tester /home/tester
    chmod 644 $SAVED_IMAGE
  fi
  as_tester load --quiet --input $SAVED_IMAGE
  refused 'initial user namespace' as_tester run --cgroups split --network host "${ANNOTATED[@]}" "$IMAGE" echo started
}

test_podman() {
  clean() { clean_podman; }
  for runtime in crun runc; do
    try "podman, $runtime: a server and its calls" annotation
    try "podman, $runtime: exec is under the policy" executed
    try "podman, $runtime: restart keeps it" restarted
    try "podman, $runtime: a restart policy does" restart_policy
    try "podman, $runtime: systemd's reloads and podman's updates do" systemd_reloads
    try "podman, $runtime: --cgroups=split" split
    try "podman, $runtime: a private network with two addresses" private_network
    try "podman, $runtime: --uidmap, whose network comes after the hooks" network_after_the_hooks
    try "podman, $runtime: kube play" played
    try "podman, $runtime: two containers of a pod, each with its own addresses" two_in_a_pod
    try "podman, $runtime: kube play with keys for one container is refused" played_by_name
    try "podman, $runtime: a Quadlet unit" quadlet
    try "podman, $runtime: systemd as the first process" system
    try "podman, $runtime: a bad annotation stops the start and says why" bad_annotation
    try "podman, $runtime: --cgroups=disabled is refused" no_cgroup
    try "podman, $runtime: rootless is refused" rootless
    try "podman, $runtime: a checkpoint and its restore" "restored_by_$runtime"
  done
}
