# shellcheck shell=bash
# Docker, which gets the hook as a CDI device, and runs runc.
set -euo pipefail

DEVICE=(--device oci-bind-hook.io/policy=annotations)

clean_docker() {
  local containers
  containers=$(docker ps --all --quiet)
  # shellcheck disable=SC2086 # a list of ids
  [ -z "$containers" ] || docker rm --force $containers
}

start_docker() {
  docker --version
  mkdir -p /etc/cdi
  oci-bind-hook cdi >/etc/cdi/oci-bind-hook.json
  systemctl start docker
  docker load --input $SAVED_IMAGE
}

docker_server() {
  docker run --detach --name server --network host "${DEVICE[@]}" "${ANNOTATED[@]}" "$@" \
    "$IMAGE" echo-server server $PORT
}

docker_serves() {
  docker_server
  serves docker exec server
}

docker_pid() { docker inspect --format '{{.State.Pid}}' server; }

docker_restarts() {
  local first
  docker_server --restart always
  docker restart --time 0 server
  serves docker exec server
  first=$(docker_pid)
  kill -KILL "$first"
  until_ok runs_anew "$first" docker_pid
  serves docker exec server
}

docker_reloads() {
  docker_server
  serves
  systemctl daemon-reload
  docker update --pids-limit 100 --memory 64m --memory-swap 64m server
  serves docker exec server
}

docker_refuses() {
  refused 192.0.2.300 docker run --network host "${DEVICE[@]}" --annotation io.oci-bind-hook.ipv4=192.0.2.300 \
    "$IMAGE" echo started
  mentions "$OUTPUT" 192.0.2.300
}

# Docker knows the hook by the device alone.
docker_without_device() {
  docker run --detach --name server --network host "${ANNOTATED[@]}" "$IMAGE" echo-server server $PORT
  until_ok answers $HOST6 tcp
  nothing_governed
}

before_boot_docker() { t 'docker: a container for the next boot' prepare_docker_boot; }

# Beside podman's.
prepare_docker_boot() {
  docker run --detach --name server --network host "${DEVICE[@]}" "${ANNOTATED[@]}" --restart always \
    "$IMAGE" echo-server server $((PORT + 3))
  local PORT=$((PORT + 3))
  serves
  echo after_boot >$AGAIN
}

docker_state() { docker inspect --format "{{.State.$1}}" server; }

# Docker 26 starts it before it knows of CDI: then it is down, and without the
# policy it never is up.
docker_comes_back() {
  until_ok settled
  if [ "$(docker_state Status)" != running ]; then
    mentions "$(docker_state Error)" 'could not select device driver "cdi"'
    refuses $CIP4 $CIP6 $HOST4 $HOST6
    docker start server
  fi
  serves docker exec server
}

# With the state of the boot before, Docker has not come to it yet.
settled() { [ "$(docker_state Status)" = running ] || [ -n "$(docker_state Error)" ]; }

after_boot_docker() {
  local PORT=$((PORT + 3))
  systemctl start docker
  t 'docker: starts it at boot under the policy, or not' docker_comes_back
  clean_docker >/dev/null
  systemctl stop docker docker.socket
}

test_docker() {
  clean() { clean_docker; }
  t 'docker: starts with a CDI specification' start_docker
  try 'docker: a server and its calls' docker_serves
  try 'docker: restarts keep the policy' docker_restarts
  try "docker: systemd's reloads and docker's updates do" docker_reloads
  try 'docker: a bad annotation stops the start and says why' docker_refuses
  try 'docker: without the device an annotation means nothing' docker_without_device
}
