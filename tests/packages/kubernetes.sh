# shellcheck shell=bash
# The manifests for Kubernetes, and the installer that they start, run by podman
# as the manifests say; for tests/packages.sh, which sources this file. The node
# is this machine, with directories of its own in place of two of /usr.
set -euo pipefail

CIP6=2001:db8:e::10
MANIFESTS=packaging/kubernetes
# The oldest and the newest whose schemas are looked at.
API_VERSIONS='1.30.0 1.37.0'
SERVER_PORT=7070

# --- the manifests -----------------------------------------------------------

# render OVERLAY: as `kubectl apply --kustomize` would send it.
render() {
  "$KUBE_TOOLS/kubectl" kustomize "$MANIFESTS/$1" >"$WORK/$1.yaml"
}

is_valid() {
  local version
  for version in $API_VERSIONS; do
    "$KUBE_TOOLS/python/bin/kubernetes-validate" --strict --kubernetes-version "$version" "$1" || return 1
  done
}

manifest() { "$KUBE_TOOLS/python/bin/python" tests/packages/manifest.py "$1" "$WORK/$2.yaml"; }

# follows_the_schemas OVERLAY: and a member that the API does not know is seen.
follows_the_schemas() {
  render "$1"
  is_valid "$WORK/$1.yaml"
  sed 's/^\( *\)automountServiceAccountToken: /\1automountServiceAccountTokens: /' "$WORK/$1.yaml" >"$WORK/wrong.yaml"
  if is_valid "$WORK/wrong.yaml"; then fail 'a wrong member is not seen'; fi
}

asks_for_little() {
  local said
  render "$1"
  said=$(manifest excess "$1")
  is 'what it could do without' "$said" ''
}

names_this_version() {
  render base
  has_line "$(cat "$WORK/base.yaml")" "        image: $NAME-installer:$VERSION"
}

# What is released is what is here.
are_released() {
  mkdir "$WORK/released"
  tar --extract --file "$DIST"/$NAME-kubernetes-*.tar.gz --directory "$WORK/released" --strip-components 1
  for overlay in base containerd remove example; do
    diff --recursive "$MANIFESTS/$overlay" "$WORK/released/$overlay"
  done
}

# --- the installer -----------------------------------------------------------

# A node without the hook.
fresh_node() {
  local directory
  for directory in /usr/libexec /usr/share/containers; do
    mkdir -p "$WORK/node$directory"
    mount -t tmpfs none "$WORK/node$directory"
    mkdir "$WORK/node$directory"/{upper,work}
    mount -t overlay -o "lowerdir=$directory,upperdir=$WORK/node$directory/upper,workdir=$WORK/node$directory/work" \
      none "$directory"
  done
  mkdir -p ${BINARY%/*} ${HOOKS_D%/*}
}

leave_node() {
  engine rm --all --force --time 0 >/dev/null 2>&1 || true
  remove_cgroup "/sys/fs/cgroup/$POD"
  for directory in /usr/libexec /usr/share/containers; do
    ! mountpoint --quiet $directory || umount --recursive $directory "$WORK/node$directory"
  done
}

# start_pod OVERLAY IMAGE: the pod of an overlay's DaemonSet.
start_pod() {
  local options arguments
  render "$1"
  mapfile -t options < <(manifest podman "$1" | sed '/^--$/,$d')
  mapfile -t arguments < <(manifest podman "$1" | sed '1,/^--$/d')
  engine run --detach --name installer "${ENGINE_RUN[@]}" "${options[@]}" "$2" "${arguments[@]}"
}

# run_pod OVERLAY IMAGE: and waits until its startup probe says that it is done.
run_pod() {
  local probe deadline=$((SECONDS + ENGINE_DEADLINE))
  start_pod "$@"
  mapfile -t probe < <(manifest probe "$1")
  until engine exec installer "${probe[@]}"; do
    [ "$SECONDS" -lt "$deadline" ] || fail "not done: $(engine logs installer 2>&1)"
  done
}

# SIGTERM, and SIGKILL long after.
end_pod() {
  engine stop --time $ENGINE_DEADLINE installer
  is 'the status at the end' "$(engine inspect --format '{{.State.ExitCode}}' installer)" 0
  engine rm installer
}

# fails OVERLAY MESSAGE: the pod ends, and says why.
fails() {
  start_pod "$1" "$THIS"
  is 'the status' "$(engine wait installer)" 1
  mentions "$(engine logs installer 2>&1)" "$2"
  engine rm installer
}

# has_files_of IMAGE: what the node has is what that image has, and no more.
has_files_of() {
  local beside
  is 'the binary' "$(sha256sum <$BINARY)" "$(image_file "$1" hook/$NAME | sha256sum)"
  is 'the hooks.d file' "$(cat $HOOKS_D)" "$(cat config/$NAME.json)"
  is 'who may what' "$(stat --format '%a %U:%G' $BINARY $HOOKS_D)" "755 root:root
644 root:root"
  beside=$(find ${BINARY%/*} ${HOOKS_D%/*} -mindepth 1 ! -path $BINARY ! -path $HOOKS_D)
  is 'what is beside them' "$beside" ''
}

# Not the file of a moment either.
has_nothing() {
  local found
  found=$(find ${BINARY%/*} ${HOOKS_D%/*} -mindepth 1)
  is 'what the node has' "$found" ''
}

image_file() { engine run --rm "${ENGINE_RUN[@]}" --entrypoint /bin/cat "$1" "/$2"; }

# A server under the installed hook; podman reads the node's directory by itself.
serve() {
  local said
  exec {said}< <(engine run --name server "${ENGINE_RUN[@]}" --network host \
    --annotation io.oci-bind-hook.ipv4=$CIP --annotation io.oci-bind-hook.ipv6=$CIP6 \
    "$ENGINE_IMAGE" echo-server server $SERVER_PORT 2>&1)
  said=$(read_announcement $said) || fail "the server is not ready: $said"
  has_line "$said" "server tcp 0.0.0.0 bound $CIP $SERVER_PORT"
  has_line "$said" "server udp :: bound $CIP6 $SERVER_PORT"
}

installs_on_a_node() {
  watch "" "$WORK/log"
  run_pod base "$THIS"
  seen 0 0
  has_files_of "$THIS"
  serve
}

stays_after_sigterm() {
  run_pod base "$THIS"
  end_pod
  has_files_of "$THIS"
}

upgrades_on_a_node() {
  run_pod base "$THIS"
  serve
  end_pod
  watch "" "$WORK/log"
  run_pod base "$OTHER_IMAGE"
  seen 1 1
  never_gone
  has_files_of "$OTHER_IMAGE"
  mentions "$($BINARY status)" 'runs the programs of another version'
}

# Nothing is written: engines that watch the directory see nothing.
leaves_alone_what_is_there() {
  run_pod base "$THIS"
  end_pod
  watch "" "$WORK/log"
  run_pod base "$THIS"
  is 'what changed' "$(seen 1 1 | tail -n 1)" '0 changes'
}

notices_what_is_missing() {
  local file
  for file in $BINARY $HOOKS_D; do
    run_pod base "$THIS"
    rm $file
    if engine exec installer /installer installed; then fail "the probe does not miss $file"; fi
    end_pod
    run_pod base "$THIS"
    end_pod
    has_files_of "$THIS"
  done
}

removes_from_a_node() {
  run_pod base "$THIS"
  serve
  if engine exec installer /installer removed; then fail 'it says that it is removed'; fi
  end_pod
  watch "" "$WORK/log"
  run_pod remove "$THIS"
  seen 1 1
  has_nothing
  if engine exec installer /installer installed; then fail 'it says that it is installed'; fi
  end_pod
}

# mounted OPTIONS FILE: the file's directory on the node, with mount options.
mounted() {
  mount --bind "${2%/*}" "${2%/*}"
  mount -o "remount,bind,$1" "${2%/*}"
}

# Nothing half done: a hooks.d file would name a binary that is not there.
fails_where_it_may_not_write() {
  mounted ro $BINARY
  fails base "cannot write ${BINARY%/*} on the node"
  [ ! -e $HOOKS_D ] || fail "$HOOKS_D is there"
  umount ${BINARY%/*}
  mounted ro $HOOKS_D
  fails base "cannot write ${HOOKS_D%/*} on the node"
  umount ${HOOKS_D%/*}
  run_pod base "$THIS"
  has_files_of "$THIS"
}

fails_where_the_binary_cannot_run() {
  mounted noexec $BINARY
  fails base "the node cannot run $BINARY"
  has_nothing
  umount ${BINARY%/*}
}

# The binary goes last: it stays where the hooks.d file does.
keeps_the_binary_of_a_file_that_stays() {
  run_pod base "$THIS"
  end_pod
  mounted ro $HOOKS_D
  fails remove "cannot remove $HOOKS_D on the node"
  umount ${HOOKS_D%/*}
  has_files_of "$THIS"
}

# on_a_node TEST: a test is a subshell, and takes away itself what it mounts.
on_a_node() {
  engine image exists $THIS || loads
  trap leave_node EXIT
  fresh_node
  "$1"
}

# load DIST NAME: the image of that release, by a name of ours.
load() {
  engine pull --quiet "oci-archive:$(echo "$1"/*.oci.tar)" >"$WORK/id"
  engine tag "$(tail -n 1 "$WORK/id")" "$2"
}

loads() {
  engine_image
  load "$DIST" $THIS
  load "$NEXT_DIST" $OTHER_IMAGE
}

# All that it has are a shell, the hook, and their licences. podman's own mount
# points are not of the image.
has_little() {
  local container files
  engine image exists $THIS || loads
  container=$(engine create "${ENGINE_RUN[@]}" $THIS)
  files=$(engine export "$container" | tar --list | grep -vE '/$|^(dev|etc|proc|run|sys)/' | LC_ALL=C sort)
  engine rm "$container"
  is 'its files' "$files" "$(
    printf 'bin/%s\n' busybox cat cmp cp mv rm sh sleep sync
    printf 'hook/%s\n' $NAME $NAME.json
    echo installer
    printf 'licences/%s\n' LICENSE LICENSE-APACHE LICENSE-MIT busybox crates libc versions
  )"
}

kubernetes() {
  local overlay test
  POD=oci-bind-hook-packages-$$
  THIS=localhost/installer:this OTHER_IMAGE=localhost/installer:other
  KUBE_TOOLS=$(tests/packages/kubernetes-tools.sh)
  for overlay in base containerd remove example; do
    t "kubernetes: $overlay follows the schemas" follows_the_schemas $overlay
  done
  for overlay in base containerd remove; do t "kubernetes: $overlay asks for little" asks_for_little $overlay; done
  t 'kubernetes: the manifests name this version of the image' names_this_version
  t 'kubernetes: the manifests are released' are_released
  ip address add $CIP6/128 dev lo nodad
  trap 'engine_remove "$POD"; rm -rf "$WORK" "${EBPF_CRATES%/*}"' EXIT
  engine_start "$POD"
  t 'installer: podman loads the image' loads
  t 'installer: the image has no file that it does not need' has_little
  for test in installs_on_a_node stays_after_sigterm upgrades_on_a_node leaves_alone_what_is_there \
    notices_what_is_missing removes_from_a_node fails_where_it_may_not_write fails_where_the_binary_cannot_run \
    keeps_the_binary_of_a_file_that_stays; do
    t "installer: ${test//_/ }" on_a_node $test
  done
}
