# shellcheck shell=bash
# buildah reads hooks.d too, but keeps annotations for the image: what it runs
# is never under a policy, and must not suffer from the hook.
set -euo pipefail

clean_buildah() { buildah rm --all; }

buildah_runs() {
  local said
  buildah --version
  buildah from --pull-never --name building "$IMAGE"
  buildah config --annotation "io.oci-bind-hook.ipv4=$CIP4" building
  said=$(buildah run --isolation oci --network host building -- \
    echo-client $PEER4 $PEER_PORT tcp)
  mentions "$said" "peer=$HOST4:"
}

test_buildah() {
  clean() { clean_buildah; }
  try 'buildah: run works, as annotations are for the image' buildah_runs
}
