#!/bin/bash
# What a release has: built twice and compared, the packages installed, upgraded
# and removed in clean systems, the installer for Kubernetes tried with podman;
# all on this kernel.
# Usage: tests/packages.sh [WORD...]       or  make test-packages
#   WORD      only the tests that have one of these in their names
# Ends with `N passed, N failed, N skipped`. What was built is kept for the next
# run with BUILT=DIRECTORY, which does not build if it has something.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/engine-env.sh
. tests/engine-env.sh

# Before the network is out of reach.
if [ "${ENGINE_NAMESPACE:-}" != $$ ]; then
  tests/setup.sh vm packages
  for suite in bookworm trixie forky; do tests/packages/system.sh $suite >/dev/null; done
  tests/packages/kubernetes-tools.sh >/dev/null
  cargo fetch --locked --quiet
  packaging/sbom.sh --tools
  ebpf/tools.sh >/dev/null
  EBPF_CRATES=$(mktemp --directory)/home
  export EBPF_CRATES
  packaging/ebpf-offline.sh fetch "$EBPF_CRATES"
fi
# The hook is what a test installs.
export OCI_BIND_HOOK=/usr/libexec/oci/hooks.d/oci-bind-hook
# A network and mounts of its own.
engine_enter own "$@"

# shellcheck source=tests/runner.sh
. tests/runner.sh
only=("$@")
WORK=$(mktemp -d)
trap 'rm -rf "$WORK" "${EBPF_CRATES%/*}"' EXIT
VERSION=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)
BUILT=${BUILT:-$WORK/built}
DIST=$BUILT/dist NEXT_DIST=$BUILT/next
# Who publishes the next version; the first is of nobody.
MAINTAINER='Jane Doe <jane@example.org>' HOMEPAGE=https://example.org/hook
# That of this checkout, for the copy without a history too.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

# shellcheck source=tests/packages/root.sh
. tests/packages/root.sh
# shellcheck source=tests/packages/files.sh
. tests/packages/files.sh
# shellcheck source=tests/packages/lives.sh
. tests/packages/lives.sh
# shellcheck source=tests/packages/kubernetes.sh
. tests/packages/kubernetes.sh

for address in $CIP $OTHER; do ip address add $address/32 dev lo; done

# --- building ----------------------------------------------------------------

build() {
  [ -e "$DIST/SHA256SUMS" ] || packaging/dist.sh "$DIST"
  (cd "$DIST" && sha256sum --check --strict SHA256SUMS)
  is 'files without a checksum' "$(cd "$DIST" && comm -13 <(cut -c 67- SHA256SUMS | sort) <(ls | sort))" SHA256SUMS
}

# copy_source DIRECTORY: a new one with files that are all of now.
copy_source() {
  mkdir "$1"
  git ls-files -z | tar --create --null --files-from=- | tar --extract --touch --directory "$1"
  git -C "$1" init --quiet
  git -C "$1" add --all
}

# The same source with other programs: another end of the object, which nobody
# reads, has another hash.
build_next() {
  local next=$WORK/next object=ebpf/oci-bind-hook.bpf.o hash
  [ ! -e "$NEXT_DIST" ] || return 0
  copy_source "$next"
  printf next >>"$next/$object"
  hash=$(sha256sum "$next/$object" | cut -d' ' -f1)
  sed -i "s|^[0-9a-f]*  $object|$hash  $object|" "$next/ebpf/oci-bind-hook.bpf.sha256"
  echo '# next' >>"$next/config/config.toml"
  sed -i "1s/(.*)/($VERSION-2)/" "$next/packaging/deb/debian/changelog"
  sed -i 's/^Release: .*/Release: 2/' "$next/packaging/rpm/oci-bind-hook.spec"
  printf '%s\n' "MAINTAINER='$MAINTAINER'" "HOMEPAGE='$HOMEPAGE'" >"$next/packaging/publisher"
  # Quicker; what it runs like is not of interest.
  export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
  "$next/packaging/deb/build.sh" "$NEXT_DIST"
  "$next/packaging/rpm/build.sh" "$NEXT_DIST"
  "$next/packaging/kubernetes/image.sh" "$NEXT_DIST"
}

# By somebody with other habits, elsewhere.
same_again() {
  copy_source "$WORK/elsewhere"
  mkdir "$WORK/temporary"
  (umask 077 && TZ=Pacific/Kiritimati LC_ALL=C.UTF-8 TMPDIR=$WORK/temporary \
    "$WORK/elsewhere/packaging/dist.sh" "$WORK/again")
  diff "$DIST/SHA256SUMS" "$WORK/again/SHA256SUMS"
}

# This network has no way out.
rebuilds_the_object() {
  mkdir "$WORK/source"
  tar --extract --file "$DIST/$NAME-$VERSION.tar.gz" \
    --directory "$WORK/source" --strip-components 1
  "$WORK/source/packaging/ebpf-offline.sh" check "$EBPF_CRATES"
  cmp "$WORK/source/ebpf/oci-bind-hook.bpf.o" "$DIST"/*.bpf.o
}

# The list of what is uploaded is made anew from the source package: it is not
# released, since it names the machine that built.
is_clean_to_lint() {
  local upload=$WORK/upload
  mkdir "$upload"
  cp "$DIST"/*.{deb,dsc,debian.tar.xz,orig.tar.gz} "$upload"
  dpkg-source --extract "$upload"/*.dsc "$upload/source"
  echo "$(basename "$(package deb)") admin optional" >"$upload/source/debian/files"
  (cd "$upload/source" && dpkg-genchanges -u.. -O../upload.changes)
  lintian --fail-on warning,error "$upload/upload.changes"
  rpmlint --config packaging/rpm/rpmlint.toml --strict "$DIST"/*.rpm packaging/rpm/*.spec
}

t 'dist: all is built, and the checksums hold' build
t 'dist: the next version is built too' build_next
t 'dist: a second build gives the same bytes' same_again
t 'dist: the eBPF object is what the source gives, without a network' rebuilds_the_object
t 'dist: the bills of materials name all crates' names_all_crates
t 'packages: nothing to say for lintian and rpmlint' is_clean_to_lint
t 'make: a second install leaves no moment without the hook' make_installs_twice
t 'packages: deb has the files that were decided on' has_files deb
t 'packages: rpm has the files that were decided on' has_files rpm
t 'packages: they depend on what they need' depends
t 'packages: they name their publisher' name_their_publisher
t 'packages: a publisher without an address is refused' refuse_a_bad_publisher
t 'packages: their scripts know the units' know_the_units
t 'packages: the licence of each crate is named' names_all_licences
lifecycle deb bookworm
lifecycle deb trixie
lifecycle deb forky
t 'deb on trixie: asks about a changed configuration' life asks_about_a_changed_configuration deb trixie
lifecycle rpm bookworm
t 'rpm on bookworm: follows presets' life follows_presets rpm bookworm
kubernetes
counts
