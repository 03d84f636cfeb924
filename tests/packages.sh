#!/bin/bash
# The packages: built, compared with a second build and with `make install`,
# and installed, upgraded and removed in clean systems, on this kernel.
# Usage: tests/packages.sh [WORD...]       or  make test-packages
#   WORD      only the tests that have one of these in their names
# Ends with `N passed, N failed, N skipped`.
set -euo pipefail
cd "$(dirname "$0")/.."

# A network and mounts of its own.
if [ "${PACKAGES_NAMESPACE:-}" != $$ ]; then
  tests/setup.sh vm packages
  for suite in bookworm trixie; do tests/vm/root.sh $suite >/dev/null; done
  cargo fetch --locked --quiet
  PACKAGES_NAMESPACE=$$ exec unshare --mount --net --propagation private -- bash "$0" "$@"
fi

# shellcheck source=tests/runner.sh
. tests/runner.sh
only=("$@")
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
# That of this checkout, for the copy without a history too.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
NAME=oci-bind-hook
CIP=192.0.2.10 OTHER=192.0.2.20
HOOKS_D=/usr/share/containers/oci/hooks.d/$NAME.json
BINARY=/usr/libexec/oci/hooks.d/$NAME
CONFIG=/etc/$NAME/config.toml
CGROUPS=/sys/fs/cgroup/unified
FIRST=libpod-$(printf '%063x1' $$).scope
SECOND=libpod-$(printf '%063x2' $$).scope

ip link set lo up
for address in $CIP $OTHER; do ip address add $address/32 dev lo; done

# --- clean systems -----------------------------------------------------------

# fresh_root SUITE: a system at $R, with what its kernel shows.
fresh_root() {
  leave_root
  R=$WORK/root
  mkdir "$R"
  tar --extract --file "$(tests/vm/root.sh "$1")" --directory "$R"
  mount -t proc proc "$R/proc"
  mount -t sysfs sys "$R/sys"
  mount -t tmpfs none "$R/sys/fs/cgroup"
  mkdir "$R/sys/fs/cgroup/unified"
  mount -t cgroup2 none "$R/sys/fs/cgroup/unified"
  mount -t bpf none "$R/sys/fs/bpf"
  mount -t devtmpfs none "$R/dev" 2>/dev/null || mount --bind /dev "$R/dev"
}

leave_root() {
  [ -n "${R:-}" ] || return 0
  end_containers
  ! mountpoint --quiet "$R/proc" || umount --recursive "$R"/{proc,sys,dev}
  rm -rf "$R"
  R=
}

in_root() { PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$R" "$@"; }

# --- containers, as an engine makes them -------------------------------------

# start_container CGROUP ADDRESS: its first process waits in a cgroup of its
# own; the hook is run as the installed hooks.d file says.
start_container() {
  local cgroup=$CGROUPS/$1 id path
  id=${1#libpod-}
  mkdir "$R$cgroup"
  sleep infinity &
  echo $! >"$R$cgroup/cgroup.procs"
  path=$(sed -n 's/.*"path": "\(.*\)".*/\1/p' "$R$HOOKS_D")
  in_root "$path" create-runtime <<END
{ "ociVersion": "1.0.2", "id": "${id%.scope}", "status": "creating", "pid": $!, "bundle": "/",
  "annotations": { "io.oci-bind-hook.ipv4": "$2" } }
END
}

end_containers() {
  local cgroup
  for cgroup in "$R$CGROUPS/$FIRST" "$R$CGROUPS/$SECOND"; do
    [ -d "$cgroup" ] || continue
    while read -r pid; do
      kill -KILL "$pid"
      wait "$pid" 2>/dev/null || tail --pid "$pid" --follow /dev/null
    done <"$cgroup/cgroup.procs"
    rmdir "$cgroup"
  done
}

# is_at CGROUP ADDRESS: a server there that binds to 0.0.0.0 is at the address.
is_at() {
  # shellcheck disable=SC2016 # for the shell in the cgroup
  is "a server of $1" "$2" "$(bash -c 'echo $$ >"$1" && exec python3 -c "
import socket
server = socket.socket()
server.bind((\"0.0.0.0\", 0))
print(server.getsockname()[0])"' _ "$R$CGROUPS/$1/cgroup.procs")"
}

pinned_versions() { find "$R/sys/fs/bpf/$NAME" -mindepth 1 -maxdepth 1 -type d 2>/dev/null | wc -l; }

# --- building ----------------------------------------------------------------

build() {
  packaging/deb/build.sh "$WORK/deb"
  packaging/rpm/build.sh "$WORK/rpm"
}

# The same source with other programs: another end of the object, which nobody
# reads, has another hash.
build_next() {
  local next=$WORK/next object=ebpf/oci-bind-hook.bpf.o hash
  mkdir "$next"
  git ls-files -z | tar --create --null --files-from=- | tar --extract --directory "$next"
  git -C "$next" init --quiet
  git -C "$next" add --all
  printf next >>"$next/$object"
  hash=$(sha256sum "$next/$object" | cut -d' ' -f1)
  sed -i "s|^[0-9a-f]*  $object|$hash  $object|" "$next/ebpf/oci-bind-hook.bpf.sha256"
  sed -i "1s/(.*)/(0.1.0-2)/" "$next/packaging/deb/debian/changelog"
  sed -i 's/^Release: .*/Release: 2/' "$next/packaging/rpm/oci-bind-hook.spec"
  # Quicker; what it runs like is not of interest.
  export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
  "$next/packaging/deb/build.sh" "$WORK/next-deb"
  "$next/packaging/rpm/build.sh" "$WORK/next-rpm"
}

same_again() {
  packaging/deb/build.sh "$WORK/again"
  packaging/rpm/build.sh "$WORK/again"
  cmp "$WORK"/deb/*.deb "$WORK"/again/*.deb
  for package in "$WORK"/rpm/*.rpm; do cmp "$package" "$WORK/again/$(basename "$package")"; done
}

is_clean_to_lint() {
  lintian --fail-on warning,error "$WORK"/deb/*.deb
  rpmlint --config packaging/rpm/rpmlint.toml --strict "$WORK"/rpm/*.rpm packaging/rpm/*.spec
}

# Names alone: packages compress the manual, and have documents of their own.
what_make_installs() {
  make --silent install DESTDIR="$WORK/made" PREFIX=/usr binary="$1$BINARY" >&2
  (cd "$WORK/made" && find . ! -type d ! -path './usr/share/doc/*' -printf '/%P\n' | LC_ALL=C sort)
  rm -r "$WORK/made"
}

what_a_package_has() {
  grep -vE '^/usr/(share/(doc|licenses|lintian)/|lib/\.build-id)' | sed 's/\.8\.gz$/.8/' |
    while read -r path; do [ -d "$R$path" ] && [ ! -L "$R$path" ] || echo "$path"; done | LC_ALL=C sort
}

# --- the life of a package ---------------------------------------------------

# Each package system says how: install FILE, remove, purge, verify, list.
deb_install() { in_root dpkg --install /packages/"$(basename "$1")"; }
deb_remove() { in_root dpkg --remove $NAME; }
deb_purge() { in_root dpkg --purge $NAME; }
deb_verify() { in_root dpkg --verify $NAME; }
deb_list() { in_root dpkg --listfiles $NAME; }
# The tools are this machine's.
rpm_install() { rpm --root "$R" --nodeps --upgrade "$1"; }
rpm_remove() { rpm --root "$R" --nodeps --erase $NAME; }
rpm_purge() { rm -f "$R$CONFIG.rpmsave"; }
rpm_verify() { rpm --root "$R" --nodeps --verify $NAME; }
rpm_list() { rpm --root "$R" --query --list $NAME; }

# begin KIND SUITE: a system with the package.
begin() {
  kind=$1
  fresh_root "$2"
  case $kind in
    deb) mkdir "$R/packages" && cp "$WORK"/deb/*.deb "$WORK"/next-deb/*.deb "$R/packages/" ;;
  esac
  # Without the source package.
  FILE=$(echo "$WORK/$kind"/*64.$kind) NEXT=$(echo "$WORK/next-$kind"/*64.$kind)
  "${kind}_install" "$FILE"
}

installs() {
  local said
  begin "$@"
  said=$("${kind}_verify")
  is 'what differs from the package' "$said" ''
  is 'the files' "$("${kind}_list" | what_a_package_has)" "$(what_make_installs "$R")"
  in_root $NAME --version
  start_container "$FIRST" $CIP
  is_at "$FIRST" $CIP
  mentions "$(in_root $NAME status)" "$FIRST"
}

upgrades() {
  begin "$@"
  start_container "$FIRST" $CIP
  echo '# changed' >>"$R$CONFIG"
  "${kind}_install" "$NEXT"
  has_line "$(cat "$R$CONFIG")" '# changed'
  is_at "$FIRST" $CIP
  start_container "$SECOND" $OTHER
  is_at "$SECOND" $OTHER
  is_at "$FIRST" $CIP
  is 'versions pinned' "$(pinned_versions)" 2
  mentions "$(in_root $NAME status)" 'runs the programs of another version'
  in_root $NAME unload
  is 'versions pinned while both run' "$(pinned_versions)" 2
  end_containers
  in_root $NAME unload
  is 'versions pinned when none runs' "$(pinned_versions)" 0
}

# Those that run keep their policy; a hooks.d file without its binary, which
# engines ignore in silence, must not stay.
removes() {
  begin "$@"
  start_container "$FIRST" $CIP
  "${kind}_remove"
  [ ! -e "$R$HOOKS_D" ] || fail "$HOOKS_D is left"
  [ ! -e "$R$BINARY" ] || fail "$BINARY is left"
  is_at "$FIRST" $CIP
  "${kind}_purge"
  is 'what is left' "$(cd "$R" && find etc usr -name "*$NAME*")" ''
  "${kind}_install" "$FILE"
  is_at "$FIRST" $CIP
  start_container "$SECOND" $OTHER
  is_at "$SECOND" $OTHER
}

# Nobody uses the pins: they go with the package.
removes_pins() {
  begin "$@"
  in_root $NAME load
  is 'versions pinned' "$(pinned_versions)" 1
  "${kind}_remove"
  is 'versions pinned' "$(pinned_versions)" 0
}

keeps_a_changed_configuration() {
  begin "$@"
  echo '# changed' >>"$R$CONFIG"
  "${kind}_remove"
  has_line "$(cat "$R$CONFIG"*)" '# changed'
}

lifecycle() {
  local test
  for test in installs upgrades removes removes_pins keeps_a_changed_configuration; do
    t "$1 on $2: ${test//_/ }" life "$test" "$@"
  done
}

# A test is a subshell: what it mounts it has to take away itself.
life() {
  trap leave_root EXIT
  "$@"
}

t 'packages: deb and rpm are built' build
t 'packages: of the next version too' build_next
t 'packages: a second build gives the same bytes' same_again
t 'packages: nothing to say for lintian and rpmlint' is_clean_to_lint
lifecycle deb bookworm
lifecycle deb trixie
lifecycle rpm bookworm
counts
