# shellcheck shell=bash
# systemd alone: a unit that is put under a policy before its program starts.
set -euo pipefail

UNITS=/run/systemd/system

clean_systemd() {
  local unit
  for unit in unit-server unit-calls unit-datagrams; do
    # A unit that was never started, or is gone, is none.
    systemctl stop $unit 2>/dev/null || true
    systemctl reset-failed $unit 2>/dev/null || true
  done
  ip link delete later0 2>/dev/null || true
}

# unit NAME COMMAND [LINE...]: a unit, and beside it the drop-in of
# docs/SYSTEMD.md: systemd runs ExecStartPre in the unit's cgroup, where `attach`
# attaches, or below it; + is with root's rights. SIGKILL, since the server is not
# made to end.
unit() {
  local name=$1 command=$2
  shift 2
  cat >"$UNITS/$name.service" <<END
[Service]
Type=exec
ExecStart=$command
KillSignal=SIGKILL
END
  mkdir -p "$UNITS/$name.service.d"
  cat >"$UNITS/$name.service.d/address.conf" <<END
[Service]
ExecStartPre=+/usr/sbin/oci-bind-hook attach --cgroup /system.slice/%n --ipv4 $CIP4 --ipv6 $CIP6
END
  printf '%s\n' "$@" >>"$UNITS/$name.service"
  systemctl daemon-reload
}

server_unit() { unit unit-server "/payload/tests/echo-server unit $PORT" "$@"; }

# What another unit under the policy calls.
unit_calls() {
  printf '%s\n' "$CALLS" >/run/calls
  unit unit-calls 'sh /run/calls' "Environment=PATH=$PATH"
  sed -i 's/Type=exec/Type=oneshot/' "$UNITS/unit-calls.service"
  echo StandardOutput=truncate:/run/called >>"$UNITS/unit-calls.service"
  systemctl daemon-reload
  systemctl start unit-calls
  seen_as $CIP4 $CIP6 "$(cat /run/called)"
}

# in_unit COMMAND...: beside the unit's own processes.
# shellcheck disable=SC2016 # for that shell
in_unit() {
  sh -c 'echo $$ >/sys/fs/cgroup/system.slice/unit-server.service/cgroup.procs && exec "$@"' sh "$@"
}

unit_serves() {
  server_unit "$@"
  systemctl start unit-server
  serves
  mentions "$(journal)" "cgroup /system.slice/unit-server.service uses $CIP4 and $CIP6"
}

unit_plain() {
  unit_serves
  unit_calls
}

unit_restarts() {
  unit_serves
  systemctl restart unit-server
  serves in_unit
  systemctl daemon-reload
  systemctl daemon-reexec
  serves in_unit
}

main_pid() { systemctl show --property MainPID --value unit-server; }

unit_comes_back() {
  local first
  unit_serves Restart=always RestartSec=0
  first=$(main_pid)
  kill -KILL "$first"
  until_ok runs_anew "$first" main_pid
  serves in_unit
}

unit_for_a_user() {
  unit_serves DynamicUser=yes Delegate=yes IPAccounting=yes
  systemctl set-property --runtime unit-server MemoryMax=100M
  serves in_unit
}

unit_refused() {
  server_unit
  sed -i "s/$CIP4/$AWAY4/" "$UNITS/unit-server.service.d/address.conf"
  systemctl daemon-reload
  ! systemctl start unit-server || fail 'it started'
  mentions "$(journal)" $AWAY4
  is 'the address' "$(dial $CIP4 tcp)" refused
}

# One UDP socket at `::`.
datagrams_of_both() {
  local address
  cat >/run/datagrams.pl <<'END'
use Socket qw(:all);
socket(my $server, PF_INET6, SOCK_DGRAM, 0) or die $!;
setsockopt($server, IPPROTO_IPV6, IPV6_V6ONLY, pack('i', 0)) or die $!;
bind($server, pack_sockaddr_in6($ARGV[0], inet_pton(AF_INET6, '::'))) or die $!;
while (defined(my $peer = recv($server, my $asked, 64, 0))) { send($server, 'perl local=', 0, $peer) }
END
  unit unit-datagrams "perl /run/datagrams.pl $PORT"
  systemctl start unit-datagrams
  for address in $CIP4 $CIP6; do until_ok answers $address udp; done
  refuses $HOST4 $HOST6 $OTHER4 $OTHER6
}

# udev has the hook look at the device.
datagrams_by_a_later_device() {
  datagrams_of_both
  ip link add later0 type veth peer name later1 netns peer
  ip address add 2001:db8:c::1/64 dev later0 nodad
  ip -n peer address add 2001:db8:c::99/64 dev later1 nodad
  ip link set later0 up
  ip -n peer link set later1 up
  ip -n peer route add $CIP6/128 via 2001:db8:c::1
  until_ok answers $CIP6 udp
}

# Until the first container, nobody waits for the verifier.
loads_at_boot() {
  oci-bind-hook unload
  [ ! -e /sys/fs/bpf/oci-bind-hook ] || fail 'pins are left'
  systemctl start oci-bind-hook
  [ -n "$(ls /sys/fs/bpf/oci-bind-hook)" ] || fail 'nothing is pinned'
  systemctl stop oci-bind-hook
  [ ! -e /sys/fs/bpf/oci-bind-hook ] || fail 'pins are left'
  oci-bind-hook load
}

test_systemd() {
  clean() { clean_systemd; }
  try 'systemd: a unit with ExecStartPre, and its calls' unit_plain
  try 'systemd: restarts and reloads keep it' unit_restarts
  try 'systemd: a unit that comes back is under it again' unit_comes_back
  try 'systemd: a unit with a user and a delegated cgroup' unit_for_a_user
  try 'systemd: a unit with a UDP socket of both families' datagrams_of_both
  try 'systemd: it hears by a device that comes later' datagrams_by_a_later_device
  try 'systemd: oci-bind-hook.service loads, and unloads what is unused' loads_at_boot
  try "systemd: a unit whose address is missing does not start" unit_refused
}
