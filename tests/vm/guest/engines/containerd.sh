# shellcheck shell=bash
# containerd's ctr, which has CDI devices from containerd 2 on.
set -euo pipefail

DEVICE=(--device oci-bind-hook.io/policy=annotations)

clean_containerd() {
  ctr task kill --signal KILL server || true
  until_ok ctr_is_gone
  ctr container rm server || true
}

ctr_is_gone() { ctr task rm server 2>/dev/null || [ -z "$(ctr task ls --quiet)" ]; }

start_containerd() {
  containerd --version
  mkdir -p /etc/cdi
  oci-bind-hook cdi >/etc/cdi/oci-bind-hook.json
  systemctl start containerd
  ctr image import $SAVED_IMAGE
}

has_cdi() {
  local version
  version=$(containerd --version | awk '{ print $3 }')
  printf '2\n%s\n' "${version#v}" | sort --version-sort --check=silent ||
    skip "ctr of containerd $version takes no CDI device"
}

# Options for ctr.
ctr_server() {
  ctr run --detach --net-host "${DEVICE[@]}" "${ANNOTATED[@]}" "$@" "$IMAGE:latest" server echo-server server $PORT
}

ctr_serves() {
  has_cdi
  ctr_server "$@"
  serves ctr task exec --exec-id calls server
}

ctr_refuses() {
  has_cdi
  refused 192.0.2.300 ctr run --rm --net-host "${DEVICE[@]}" --annotation io.oci-bind-hook.ipv4=192.0.2.300 \
    "$IMAGE:latest" server echo started
  mentions "$OUTPUT" 192.0.2.300
}

test_containerd() {
  clean() { clean_containerd; }
  t 'containerd: starts' start_containerd
  try 'containerd: ctr, a server and its calls' ctr_serves
  try "containerd: ctr with systemd's cgroups" ctr_serves --runc-systemd-cgroup --cgroup system.slice:ctr:server
  try 'containerd: ctr, a bad annotation stops the start and says why' ctr_refuses
}
