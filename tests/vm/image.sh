#!/bin/bash
# Makes an image of a Debian system with systemd and container engines.
# Usage: tests/vm/image.sh SUITE             SUITE like trixie
# Prints its file in the cache, a squashfs. It is made anew after a week, and when
# its list of packages has changed.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

# systemd-sysv brings no mount(8) on every suite. catatonit is what podman's
# pods wait in, libcriu2 what crun checkpoints with.
PACKAGES='systemd systemd-sysv udev dbus mount procps iproute2 jq bpftool busybox-static
  podman crun runc netavark aardvark-dns catatonit containers-storage uidmap passt
  buildah docker.io docker-cli containerd criu libcriu2'

make_image() {
  local suite=$1 image=$2 work
  say "making an image of Debian $suite"
  work=$(mktemp --directory --tmpdir="$CACHE")
  # shellcheck disable=SC2064 # the directory of now
  trap "rm -rf '$work'" EXIT
  # shellcheck disable=SC2086 # a list of plain words
  bootstrap "$suite" "$work/root" "$work/log" --variant=apt --format=directory \
    --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --include="$(printf '%s,' $PACKAGES)"
  mksquashfs "$work/root" "$work/image" -comp zstd -Xcompression-level 3 -noappend -quiet -no-progress >>"$work/log" 2>&1
  mkdir -p "$CACHE/images"
  rm -f "$CACHE/images/$suite-"*
  mv "$work/image" "$image"
}

[ $# = 1 ] || die 'usage: tests/vm/image.sh SUITE'
update_lists
image=$CACHE/images/$1-$(sha256sum <<<"$PACKAGES" | cut -c1-12).squashfs
[ -n "$(find "$image" -mtime -7 2>/dev/null)" ] || make_image "$1" "$image" >&2
echo "$image"
