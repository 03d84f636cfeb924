#!/bin/bash
# Installs what the demo, the tests and the lints need from the distribution.
# Services that come with it are neither started nor enabled at boot.
# Usage: tests/setup.sh [build|demo|test|go|lint|fuzz|vm|packages]...  (demo if nothing is said)
# Does nothing, and takes no time, when everything is there.
set -euo pipefail

die() { echo "setup: $*" >&2; exit 1; }

# Debian's packages for one purpose. gcc and libc6-dev link Rust programs,
# static ones too.
packages_for() {
  case $1 in
    build) echo gcc libc6-dev ;;
    demo) echo podman runc busybox-static iproute2 procps gcc libc6-dev ;;
    # The programs that run under the hook as they are; see tests/programs.
    test) packages_for demo; echo nftables python3-yaml podman-compose zsh fish; grep -v '^#' "$(dirname "$0")/programs/packages" ;;
    # What tests/go.sh fetches a compiler with.
    go) echo python3 python3-pip ;;
    lint) echo shellcheck gcc libc6-dev ;;
    # libFuzzer is C++.
    fuzz) echo g++ libc6-dev ;;
    # Virtual machines with Debian's kernels and systems; see tests/vm.
    vm)
      echo qemu-system-x86 debian-archive-keyring cpio kmod xz-utils zstd busybox-static iproute2 nftables gcc libc6-dev
      echo mmdebstrap squashfs-tools e2fsprogs
      ;;
    # What makes packages, and what looks at them.
    packages)
      echo debhelper rpm lintian rpmlint debsums inotify-tools gcc libc6-dev jq
      echo python3-minimal python3-venv python3-license-expression buildah busybox-static
      ;;
    *) die "unknown purpose $1: use build, demo, test, go, lint, fuzz, vm or packages" ;;
  esac
}

# The same elsewhere, as commands, since every distribution has its own names.
commands_for() {
  case $1 in
    build) echo cc ;;
    demo) echo podman runc busybox ip ss pgrep cc ;;
    test) commands_for demo; echo nft zsh fish ;;
    go) echo python3 pip3 ;;
    lint) echo shellcheck cc ;;
    fuzz) echo c++ ;;
    # What the machines boot comes from Debian's archive.
    vm) echo apt-get ;;
    packages) echo dpkg-buildpackage dh rpmbuild lintian rpmlint debsums inotifywait python3 cc jq buildah busybox ;;
  esac
}

is_installed() {
  [ "$(dpkg-query --show --showformat '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# What the system starts by itself: units, and init scripts.
enabled_at_boot() {
  { find /etc/systemd /etc/rc[0-9S].d -type l \( -path '/etc/systemd/*' -o -name 'S*' \) 2>/dev/null || true; } | sort
}

# Some of the packages have services. The programs in tests/setup, which stand
# before Debian's own in the PATH of maintainer scripts, keep those that are new
# off; nothing of the system is changed for that, so nothing has to be put back.
# What an interrupted installation left is finished in the same way.
install_quietly() {
  local path
  path=$(cd "$(dirname "$0")/setup" && pwd):/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  export DEBIAN_FRONTEND=noninteractive
  PATH=$path dpkg --configure --pending &&
    apt-get update -q &&
    apt-get -o DPkg::Lock::Timeout=120 -o "DPkg::Path=$path" install -qy --no-install-recommends "$@"
}

install_debian() {
  local package missing=() log before enabled
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || die "must be root to install: ${missing[*]}"
  echo "setup: installing ${missing[*]}" >&2
  log=$(mktemp)
  before=$(enabled_at_boot)
  if ! install_quietly "${missing[@]}" </dev/null >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    die "could not install ${missing[*]}"
  fi
  rm -f "$log"
  enabled=$(comm -13 <(echo "$before") <(enabled_at_boot))
  [ -z "$enabled" ] || echo "setup: a package has enabled at boot: ${enabled//$'\n'/ }" >&2
}

check_commands() {
  local command missing=()
  for command in "$@"; do
    command -v "$command" >/dev/null || missing+=("$command")
  done
  [ ${#missing[@]} = 0 ] || die "not a Debian system: install what has the commands ${missing[*]}" \
    "(busybox statically linked; with cc also the C library's headers and static archive)"
}

[ $# -gt 0 ] || set -- demo
command -v cargo >/dev/null ||
  die "no cargo in PATH: install stable Rust (rustup), and with sudo keep it: sudo env PATH=\"\$PATH\" make ..."
for purpose in "$@"; do
  wanted=$(packages_for "$purpose")
  # shellcheck disable=SC2046,SC2086 # lists of plain words
  if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
    install_debian $wanted
  else
    check_commands $(commands_for "$purpose")
  fi
done
