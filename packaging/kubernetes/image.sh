#!/bin/bash
# Builds the image that installs the hook on a cluster's nodes, as an OCI archive.
# Needs root, but no registry.
# Usage: packaging/kubernetes/image.sh OUT     a directory, created if missing
# Prints its path. The same commit, compiler and busybox give the same bytes.
set -euo pipefail
# shellcheck source=packaging/lib.sh
. "$(dirname "$0")/../lib.sh"

need buildah busybox cargo
out=$1 name=oci-bind-hook-installer
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source=$work/source context=$work/context

# As in packages: without libraries it runs on nodes of any distribution.
binary() {
  say 'building the binary of the image, which takes minutes'
  "$ROOT/packaging/source.sh" "$source"
  (
    cd "$source"
    export CARGO_HOME=$source/.cargo CARGO_TARGET_DIR=$work/target
    export RUSTFLAGS="--remap-path-prefix=$source=/usr/src/oci-bind-hook"
    make --silent build CARGOFLAGS=--offline
  ) >"$work/log" 2>&1 || { tail -n 50 "$work/log" >&2; die 'the build failed'; }
  echo "$work/target/release/oci-bind-hook"
}

# What the Containerfile copies, including the licences of the hook, its crates,
# busybox and the C library.
fill_context() {
  mkdir -p "$context"/root/{bin,hook,licences}
  cp "$(binary)" "$ROOT/config/oci-bind-hook.json" "$context/root/hook/"
  cp "$(command -v busybox)" "$context/root/bin/"
  for applet in sh cat cmp cp mv rm sleep sync; do ln -s busybox "$context/root/bin/$applet"; done
  cp "$ROOT/packaging/kubernetes/installer.sh" "$context/root/installer"
  cp "$ROOT"/LICENSE* "$context/root/licences/"
  (cd "$source" && packaging/copyright.sh) >"$context/root/licences/crates"
  cp /usr/share/doc/busybox-static/copyright "$context/root/licences/busybox"
  cp /usr/share/doc/libc6/copyright "$context/root/licences/libc"
  dpkg-query --show busybox-static libc6-dev >"$context/root/licences/versions"
  chmod -R u=rwX,go=rX "$context/root"
  chmod 755 "$context"/root/{installer,hook/oci-bind-hook,bin/busybox}
}

# Uses its own storage, with a driver that works on every file system.
in_storage() {
  buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"
}

fill_context
say 'building the image'
tag=$name:$(version)
in_storage build --quiet --isolation chroot --format oci --timestamp "$SOURCE_DATE_EPOCH" \
  --label "org.opencontainers.image.version=$(version)" \
  --file "$ROOT/packaging/kubernetes/Containerfile" --tag "$tag" "$context" >/dev/null
# buildah's own archive would have the current time in it.
in_storage push --quiet "$tag" "oci:$work/image:$tag"
mkdir -p "$out"
file=$out/$name-$(version).oci.tar
archive "$work/image" . >"$file"
echo "$file"
