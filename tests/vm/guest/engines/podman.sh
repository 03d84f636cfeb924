# shellcheck shell=bash
# podman, with crun and with runc.

clean_podman() { podman rm --all --force --time 0; }

# podman with the runtime of the tests under way.
with() { podman --runtime "$runtime" "$@"; }

# shellcheck disable=SC2120 # options of podman
server() {
  with run --detach --name server --network host "${ANNOTATED[@]}" "$@" "$IMAGE" echo-server server $PORT
}

annotation() {
  server
  serves podman exec server
}

test_podman() {
  clean() { clean_podman; }
  t 'podman: imports an image' import_image
  for runtime in crun runc; do
    try "podman, $runtime: a server and its calls" annotation
  done
}

import_image() {
  podman --version
  image.sh import /payload/tests/echo-server podman
}
