# shellcheck shell=bash
# What is in the packages, for tests/packages.sh, which sources this file.
set -euo pipefail

# Without the source package.
package() { echo "$DIST"/*64."$1"; }

# --- the lists that were decided on ------------------------------------------

# A line for each file: mode, owner, path, and where a link leads. Then what is
# a configuration file.
files_of_deb() {
  dpkg-deb --contents "$1" | sed 's| -> |->|' | awk '{ sub(/^\./, "", $6); sub(/->/, " -> ", $6); print $1, $2, $6 }' |
    grep -v ' /$' | LC_ALL=C sort -k 3
  dpkg-deb --info "$1" conffiles | sed 's/^/config /'
}

# The id of a build is another in each, and so is the version.
files_of_rpm() {
  rpm --query --package --queryformat \
    '[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} %{FILENAMES} -> %{FILELINKTOS}\n]' "$1" |
    grep -v ' /usr/lib/.build-id' | sed "s/ -> \$//; s/$NAME-$VERSION/$NAME-VERSION/" | LC_ALL=C sort -k 3
  rpm --query --package --configfiles "$1" | sed 's/^/config /'
}

# has_files KIND: what tests/packages/KIND.files says. FILES=write writes it.
has_files() {
  local decided=tests/packages/$1.files
  [ "${FILES:-}" != write ] || "files_of_$1" "$(package "$1")" >"$decided"
  diff "$decided" <("files_of_$1" "$(package "$1")")
}

# --- compared with `make install` ---------------------------------------------

# Names and modes: packages compress the manual, and have their changelog and licences
# besides.
what_make_installs() {
  make --silent install DESTDIR="$WORK/made" PREFIX=/usr binary="$1$BINARY" "${@:2}" >&2
  (cd "$WORK/made" && find . ! -type d -printf '%m /%P\n' | LC_ALL=C sort)
  rm -r "$WORK/made"
}

what_a_package_has() {
  local path
  grep -vE "^/usr/(share/(licenses|lintian)/|lib/\.build-id|share/doc/$NAME/(copyright|(changelog|CHANGELOG)[^/]*)\$)" |
    while read -r path; do
      [ -d "$R$path" ] && [ ! -L "$R$path" ] || echo "$(stat --format %a "$R$path") ${path/%.8.gz/.8}"
    done | LC_ALL=C sort
}

# Engines that look at any moment see both.
make_installs_twice() {
  local made=$WORK/twice
  echo one >"$WORK/one" && echo two >"$WORK/two"
  chmod 755 "$WORK/one" "$WORK/two"
  watch "$made" "$WORK/log"
  make install DESTDIR="$made" PREFIX=/usr binary="$WORK/one"
  seen 0 0
  watch "$made" "$WORK/log"
  make install DESTDIR="$made" PREFIX=/usr binary="$WORK/two"
  seen 1 1
  never_gone
  cmp "$WORK/two" "$made$BINARY"
}

# --- what else they say -------------------------------------------------------

# The versions are those of the machine that builds.
depends() {
  local found
  found=$(dpkg-deb --field "$(package deb)" Depends | sed 's/ ([^)]*)//g')
  is 'deb depends on' "$found" ''
  is 'deb enhances' "$(dpkg-deb --field "$(package deb)" Enhances)" 'buildah, cri-o, podman'
  found=$(rpm --query --package --requires "$(package rpm)" | sed 's/(.*//' | LC_ALL=C sort -u | tr '\n' ' ')
  is 'rpm depends on' "$found" '/bin/sh config rpmlib rtld '
  found=$(rpm --query --package --enhances "$(package rpm)" | LC_ALL=C sort | tr '\n' ' ')
  is 'rpm enhances' "$found" 'buildah cri-o podman '
}

# Who publishes them, from the one place: that of the next version is this test's own.
name_their_publisher() {
  # shellcheck source=packaging/publisher
  is 'the homepage' "$(dpkg-deb --field "$(package deb)" Homepage)" "$(. packaging/publisher && echo "$HOMEPAGE")"
  DIST=$NEXT_DIST
  is 'the deb' "$(dpkg-deb --show --showformat '${Homepage} ${Maintainer}' "$(package deb)")" "$HOMEPAGE $MAINTAINER"
  is 'the rpm' "$(rpm --query --package --queryformat '%{URL} %{PACKAGER}' "$(package rpm)")" "$HOMEPAGE $MAINTAINER"
}

refuse_a_bad_publisher() {
  local bad=$WORK/bad said line
  mkdir -p "$bad/packaging"
  cp packaging/{lib,publisher}.sh "$bad/packaging"
  for line in 'MAINTAINER=Jane' 'MAINTAINER="Jane <jane>"' 'HOMEPAGE=example.org'; do
    printf '%s\n' 'MAINTAINER= HOMEPAGE=' "$line" >"$bad/packaging/publisher"
    if said=$(bash -c 'cd "$1" && . packaging/lib.sh && . packaging/publisher.sh && read_publisher' _ "$bad" 2>&1); then
      fail "it takes $line"
    fi
    mentions "$said" "${line%%=*} in packaging/publisher is"
  done
}

# Of debhelper's and of RPM's macros; and that of 0.1.0, to stop it.
know_the_units() {
  local said script unit
  for script in postinst postrm; do
    said=$(dpkg-deb --info "$(package deb)" $script)
    mentions "$said" 'deb-systemd-helper'
    mentions "$said" "$NAME.service"
  done
  said=$(dpkg-deb --info "$(package deb)" postinst)
  mentions "$said" "deb-systemd-helper --quiet was-enabled '$NAME.service'"
  mentions "$said" "deb-systemd-invoke \$_dh_action '$NAME.service'"
  mentions "$said" "deb-systemd-invoke stop $NAME-udp.service"
  said=$(rpm --query --package --scripts "$(package rpm)")
  mentions "$said" "systemctl --no-reload preset $NAME.service"
  for unit in $NAME $NAME-udp; do mentions "$said" "systemctl --no-reload disable --now $unit.service"; done
}

# The crates that are linked into the binary and into the object, as cargo says.
crates() {
  cargo tree --locked --offline --package oci-bind-hook --package oci-bind-hook-ebpf \
    --features oci-bind-hook-ebpf/programs --edges normal,no-proc-macro --prefix none \
    --target x86_64-unknown-linux-gnu --format "$1" | sed 's/ (\*)$//' | grep . | LC_ALL=C sort -u
}

# NAME-VERSION of each.
names_of_crates() { crates '{p}' | sed 's/ (.*//; s/ v/-/' | grep -v "^$NAME"; }

# The same as the object itself says, whatever cargo does: those that can panic.
names_in_the_object() {
  grep --text --only-matching '/registry/[^/]*/' "$DIST"/*.bpf.o | cut -d/ -f3 | LC_ALL=C sort -u
}

names_all_crates() {
  local wanted in_object
  python3 - "$DIST"/*.cdx.json >"$WORK/named" <<'END'
import json, sys
for path in sys.argv[1:]:
    for part in json.load(open(path))["components"]:
        print(part["name"] + "-" + part["version"])
END
  # Paths tell where this was built.
  if grep -E '(file://|")/(tmp|home|root|var)/' "$DIST"/*.cdx.json; then fail 'it has a path of this machine'; fi
  wanted=$(names_of_crates) in_object=$(names_in_the_object)
  mentions "$in_object" aya-ebpf-
  lists "$WORK/named" "$wanted"$'\n'"$in_object"$'\n'"$(getconf GNU_LIBC_VERSION | tr ' ' -)"
}

# lists FILE LINES: each of the lines is one of the file.
lists() {
  local line
  while read -r line; do has_line "$(cat "$1")" "$line"; done <<<"$2"
}

# In the RPM package's tag as an expression, in both packages' lists by crate.
names_all_licences() {
  local tag licences licence wanted in_object
  tag=$(rpm --query --package --queryformat '%{LICENSE}' "$(package rpm)")
  /usr/bin/python3 -c 'import sys, license_expression as spdx
sys.exit("\n".join(spdx.get_spdx_licensing().validate(sys.argv[1]).errors) or None)' "$tag"
  licences=$(crates '{l}')$'\n'LGPL-2.1-or-later
  sed 's|/| OR |' <<<"$licences" | while read -r licence; do
    case $licence in
      *' OR '*) mentions "$tag" "$licence" ;;
      *) grep -qE "(^|AND )$licence( AND|\$)" <<<"$tag" || fail "no $licence in: $tag" ;;
    esac
  done
  dpkg-deb --fsys-tarfile "$(package deb)" | tar --extract --to-stdout ./usr/share/doc/$NAME/copyright >"$WORK/deb-copyright"
  rpm2cpio "$(package rpm)" | cpio --quiet --extract --to-stdout '*/LICENSE.crates' >"$WORK/rpm-copyright"
  cmp "$WORK/deb-copyright" "$WORK/rpm-copyright"
  wanted=$(names_of_crates) in_object=$(names_in_the_object)
  lists "$WORK/deb-copyright" "$(sed 's|.*|Files: vendor/&/*|' <<<"$wanted"$'\n'"$in_object")"
}
