#!/bin/bash
# The files in docs/examples, read by the programs that they are for. Nothing is
# started here: tests/vm/guest/engines/podman.sh starts the Quadlet.
set -euo pipefail
# shellcheck source=tests/runner.sh
. "$(dirname "$0")/runner.sh"

EXAMPLES=$(cd "$(dirname "$0")/../docs/examples" && pwd)
COMPOSE=$EXAMPLES/compose.yaml
DEVICE=oci-bind-hook.io/policy=annotations
ANNOTATIONS=(io.oci-bind-hook.ipv4=192.0.2.10 io.oci-bind-hook.ipv6=2001:db8::10)

# The command line of podman must be on the host's network, with the annotations.
runs_annotated() {
  local annotation
  mentions "${1/--network=/--network }" ' --network host '
  for annotation in "${ANNOTATIONS[@]}"; do mentions "$1" " --annotation $annotation "; done
}

# The generator of podman that systemd runs.
quadlet() {
  local program=/usr/libexec/podman/quadlet
  [ -x $program ] || skip "there is no $program: podman has it from 4.4 on"
  runs_annotated "$(QUADLET_UNIT_DIRS=$EXAMPLES $program -dryrun | grep '^ExecStart=')"
}

# has_all TEXT: a compose file has all that Docker needs.
has_all() {
  local annotation
  mentions "$1" 'network_mode: host'
  mentions "$1" "$DEVICE"
  for annotation in "${ANNOTATIONS[@]}"; do mentions "$1" "${annotation/=/: }"; done
}

compose_by_python() {
  python3 -c 'import yaml' || skip 'python3 has no module yaml (Debian: python3-yaml)'
  has_all "$(python3 -c 'import sys, yaml; print(yaml.dump(yaml.safe_load(sys.stdin)))' <"$COMPOSE")"
}

compose_by_docker() {
  docker compose version || skip 'there is no docker compose'
  has_all "$(docker compose --file "$COMPOSE" config)"
}

compose_by_podman() {
  local options=(--dry-run)
  command -v podman-compose || skip 'there is no podman-compose'
  # Newer ones print their commands only then.
  if [[ $(podman-compose --help) == *--verbose* ]]; then options+=(--verbose); fi
  runs_annotated "$(podman-compose "${options[@]}" --file "$COMPOSE" up 2>&1)"
}

# The device is the one that the shipped specification has.
device() {
  local specification
  specification=$(<"$EXAMPLES/../../config/oci-bind-hook.cdi.json")
  mentions "$specification" "\"kind\": \"${DEVICE%=*}\""
  mentions "$specification" "\"name\": \"${DEVICE#*=}\""
}

only=("$@")
t 'web.container: podman run has the annotations and the host network' quadlet
t 'compose.yaml: it is YAML, with the annotations and the device' compose_by_python
t 'compose.yaml: docker compose reads it' compose_by_docker
t 'compose.yaml: podman-compose passes on the annotations' compose_by_podman
t 'compose.yaml: the device is that of the CDI specification' device
counts
