# shellcheck shell=bash
# podman after the machine has booted again: for podman.sh, whose functions it uses.
set -euo pipefail

# --- the next boot -----------------------------------------------------------

# A container for podman-restart.service, and a unit at another port.
prepare_boot() {
  runtime=crun
  systemctl enable podman-restart.service
  host_server --restart always --stop-signal KILL
  mkdir -p /etc/containers/systemd
  quadlet_file crun $((PORT + 2)) >/etc/containers/systemd/quadlet.container
  serves
  echo after_boot >$AGAIN
}

before_boot_podman() { t 'podman: a container and a unit for the next boot' prepare_boot; }

# started_at_boot UNIT CONTAINER: the unit's start is over when systemd says so.
started_at_boot() {
  while [[ $(systemctl list-jobs "$1") == *"$1"* ]]; do sleep 0.2; done
  journalctl --boot --unit "$1" --output short-monotonic
  serves podman exec "$2"
}

after_boot_podman() {
  t 'podman: podman-restart.service starts it under the policy' started_at_boot podman-restart.service server
  local PORT=$((PORT + 2))
  t 'podman: a Quadlet unit starts at boot under the policy' started_at_boot quadlet.service quadlet
  systemctl stop quadlet
  rm /etc/containers/systemd/quadlet.container
  systemctl daemon-reload
}

# --- the machine is reset ----------------------------------------------------

# Which runtime, for which moment.
runtime_at() { case $1 in loading) runtime=crun ;; attached) runtime=runc ;; esac; }

# There until the reset alone: podman-restart.service must not meet that hook.
add_reset_hook() {
  local directory=/usr/share/containers/oci/hooks.d
  mkdir /run/hooks.d
  cp $directory/* /run/hooks.d/
  mount --bind /run/hooks.d $directory
  "reset_while_$1" $directory
}

# Ours pins more programs than that. Nothing but the reset ends it.
reset_while_loading() {
  jq '.hook |= {
    path: "/payload/tests/at-pin",
    args: (["at-pin", "5", "/payload/tests/reset.sh loading", .path] + .args[1:])
  }' </run/hooks.d/oci-bind-hook.json >/run/held.json
  mv /run/held.json "$1/oci-bind-hook.json"
}

# After ours.
reset_while_attached() {
  jq --null-input '{
    version: "1.0.0", when: { always: true }, stages: ["createRuntime"],
    hook: { path: "/payload/tests/reset.sh", args: ["reset.sh", "attached"] }
  }' >"$1/zz-reset.json"
}

reset_in() {
  add_reset_hook "$moment"
  [ "$moment" != loading ] || oci-bind-hook unload
  echo "after_reset_$moment" >$AGAIN
  sync
  host_server --restart always
  fail 'the machine was not reset'
}

reset_podman() {
  moment=$1
  clean_podman >/dev/null
  runtime_at "$moment"
  t "podman, $runtime: a reset while it is $moment" reset_in
}

# podman-restart.service may have started it, or not: what podman had not yet
# written out of its layer is lost. Then podman starts it, or makes it anew.
cut_short() {
  local state
  systemctl start podman-restart.service || journalctl --boot --unit podman-restart --output cat
  state=$(podman inspect --format '{{.State.Status}}' server || true)
  echo "after the reset: ${state:-not to be inspected}"
  if [ "$state" != running ]; then
    refuses $CIP4 $CIP6 $HOST4 $HOST6
    nothing_governed || fail "attached: $(governed)"
    podman start server || { podman rm --force --ignore server; host_server; }
  fi
  serves podman exec server
  is 'cgroups that status shows' "$(policies)" 1
  clean_podman
  nothing_left_of_before
}

after_reset_podman() {
  runtime_at "$1"
  t "podman, $runtime: after a reset while it was $1" cut_short
}
