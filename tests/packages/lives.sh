# shellcheck shell=bash
# The life of a package in a clean system, for tests/packages.sh, which sources
# this file.
set -euo pipefail

# Each package system says how: install FILE, upgrade FILE, remove, purge, verify,
# list; and what ends the name of a new configuration beside a changed one.
deb_install() { in_root dpkg "${@:2}" --install /packages/"$(basename "$1")"; }
# Without an option dpkg asks about a configuration that both have changed.
deb_upgrade() { deb_install "$1" --force-confold; }
# shellcheck disable=SC2034 # named by its kind
deb_beside=dpkg-dist
deb_remove() { in_root dpkg --remove $NAME; }
deb_purge() { in_root dpkg --purge $NAME; }
# dpkg compares what it knows; debsums, this machine's, also every file's sum.
deb_verify() {
  in_root dpkg --verify $NAME
  debsums --root="$R" --all --silent $NAME
}
deb_list() { in_root dpkg --listfiles $NAME; }
# Debian's zsh looks elsewhere.
# shellcheck disable=SC2034 # named by its kind
deb_enabled=$NAME.service
# shellcheck disable=SC2034 # named by its kind
deb_layout=(zshdir=/usr/share/zsh/vendor-completions)
# The tools are this machine's.
rpm_install() { rpm --root "$R" --nodeps --upgrade "$1"; }
rpm_upgrade() { rpm_install "$1"; }
# shellcheck disable=SC2034 # named by its kind
rpm_beside=rpmnew
rpm_remove() { rpm --root "$R" --nodeps --erase $NAME; }
rpm_purge() { rm -f "$R$CONFIG.rpmsave"; }
rpm_verify() { rpm --root "$R" --nodeps --verify $NAME; }
rpm_list() { rpm --root "$R" --query --list $NAME; }
# The presets of the distribution say whether.
# shellcheck disable=SC2034 # named by its kind
rpm_enabled=
# shellcheck disable=SC2034 # named by its kind
rpm_layout=()

WANTS=/etc/systemd/system/multi-user.target.wants

# begin KIND SUITE: a system, without the package.
begin() {
  kind=$1
  fresh_root "$2"
  case $kind in
    deb) mkdir "$R/packages" && cp "$DIST"/*.deb "$NEXT_DIST"/*.deb "$R/packages/" ;;
    # As distributions have it that use RPM.
    rpm) echo 'disable *' >"$R/usr/lib/systemd/system-preset/99-default.preset" ;;
  esac
  FILE=$(package $kind) NEXT=$(DIST=$NEXT_DIST package $kind)
}

# with KIND SUITE: a system with the package.
with() {
  begin "$@"
  "${kind}_install" "$FILE"
}

installs() {
  local said made
  begin "$@"
  local -n layout=${kind}_layout enabled=${kind}_enabled
  watch "$R" "$WORK/log"
  "${kind}_install" "$FILE"
  seen 0 0
  said=$("${kind}_verify")
  is 'what differs from the package' "$said" ''
  said=$("${kind}_list" | what_a_package_has)
  made=$(what_make_installs "$R" "${layout[@]}")
  is 'the files' "$said" "$made"
  is 'what is enabled' "$(in_systemd)" "$enabled"
  in_root $NAME --version
  check_passes
  start_container "$FIRST" $CIP
  is_at "$FIRST" $CIP
  mentions "$(in_root $NAME status)" "$FIRST"
}

in_systemd() { find "$R/etc/systemd" -name "*$NAME*" -printf '%f\n'; }

# enable_unit NAME: as `systemctl enable` does, where there is none.
enable_unit() {
  if [ -e "$R/usr/bin/systemctl" ]; then
    in_root systemctl enable "$1.service"
  else
    mkdir -p "$R$WANTS"
    ln -sf "/usr/lib/systemd/system/$1.service" "$R$WANTS/"
  fi
  [ -L "$R$WANTS/$1.service" ] || fail 'the unit is not enabled'
}

disable_unit() {
  if [ -e "$R/usr/bin/systemctl" ]; then
    in_root systemctl disable "$1.service"
  else
    rm "$R$WANTS/$1.service"
  fi
}

# What 0.1.0 had besides, enabled: dpkg knows its file, and its postinst had
# deb-systemd-helper know the unit.
add_unit_of_0_1() {
  local file=/usr/lib/systemd/system/$NAME-udp.service
  sed 's/ load$/ serve/' "$R/usr/lib/systemd/system/$NAME.service" >"$R$file"
  enable_unit $NAME-udp
  if [ $kind = deb ]; then
    echo "$file" >>"$R/var/lib/dpkg/info/$NAME.list"
    in_root env DPKG_MAINTSCRIPT_PACKAGE=$NAME deb-systemd-helper update-state $NAME-udp.service
    [ -n "$(unit_of_0_1 var/lib)" ] || fail 'there is no state'
  fi
}

unit_of_0_1() { (cd "$R" && find "$@" -name "*$NAME-udp*"); }

follows_presets() {
  local said
  begin "$@"
  echo "enable $NAME.service" >"$R/usr/lib/systemd/system-preset/50-$NAME.preset"
  "${kind}_install" "$FILE"
  said=$(in_systemd)
  is 'what is enabled' "$said" $NAME.service
}

# What the administrator has decided stays: the opposite of what a package does by itself.
keeps_what_is_enabled() {
  local decided
  with "$@"
  case $kind in
    deb) disable_unit $NAME ;;
    rpm) enable_unit $NAME ;;
  esac
  decided=$(in_systemd)
  "${kind}_upgrade" "$NEXT"
  is 'what is enabled after the upgrade' "$(in_systemd)" "$decided"
  [ $kind = deb ] || return 0
  deb_remove
  deb_install "$NEXT"
  is 'what is enabled after another installation' "$(in_systemd)" ''
}

# An engine is there if its program is: so that check looks at hooks.d.
check_passes() {
  local said
  touch "$R/usr/bin/podman"
  chmod 755 "$R/usr/bin/podman"
  said=$(in_root $NAME check) || { echo "$said"; fail 'check has found a problem'; }
  mentions "$said" "$HOOKS_D"
}

upgrades() {
  local left
  with "$@"
  local -n beside=${kind}_beside
  add_unit_of_0_1
  start_container "$FIRST" $CIP
  echo '# changed' >>"$R$CONFIG"
  watch "$R" "$WORK/log"
  "${kind}_upgrade" "$NEXT"
  seen 1 1
  never_gone
  has_line "$(cat "$R$CONFIG")" '# changed'
  has_line "$(cat "$R$CONFIG.$beside")" '# next'
  left=$(unit_of_0_1 etc var/lib)
  is 'what is left of the unit of 0.1.0' "$left" ''
  is_at "$FIRST" $CIP
  start_container "$SECOND" $OTHER
  is_at "$SECOND" $OTHER
  is_at "$FIRST" $CIP
  is 'versions pinned' "$(pinned_versions)" 2
  mentions "$(in_root $NAME status)" 'runs the programs of another version'
  in_root $NAME unload
  is 'versions pinned while both run' "$(pinned_versions)" 2
  end_processes
  in_root $NAME unload
  is 'versions pinned when none runs' "$(pinned_versions)" 0
}

# Those that run keep their policy; a hooks.d file without its binary, which
# engines ignore in silence, must not stay.
removes() {
  with "$@"
  start_container "$FIRST" $CIP
  watch "$R" "$WORK/log"
  "${kind}_remove"
  seen 1 1
  [ ! -e "$R$HOOKS_D" ] || fail "$HOOKS_D is left"
  [ ! -e "$R$BINARY" ] || fail "$BINARY is left"
  is_at "$FIRST" $CIP
}

purges_and_installs_again() {
  local said
  with "$@"
  [ $kind = deb ] || enable_unit $NAME
  start_container "$FIRST" $CIP
  "${kind}_remove"
  "${kind}_purge"
  said=$(cd "$R" && find etc usr var/lib -name "*$NAME*" ! -path 'var/lib/dpkg/*')
  is 'what is left' "$said" ''
  is_at "$FIRST" $CIP
  "${kind}_install" "$FILE"
  said=$("${kind}_verify")
  is 'what differs from the package' "$said" ''
  is_at "$FIRST" $CIP
  start_container "$SECOND" $OTHER
  is_at "$SECOND" $OTHER
}

# Nobody uses the pins: they go with the package.
removes_pins() {
  with "$@"
  in_root $NAME load
  is 'versions pinned' "$(pinned_versions)" 1
  "${kind}_install" "$NEXT"
  is 'versions pinned after the upgrade' "$(pinned_versions)" 0
  in_root $NAME load
  is 'versions pinned' "$(pinned_versions)" 1
  "${kind}_remove"
  is 'versions pinned' "$(pinned_versions)" 0
}

takes_a_new_configuration() {
  with "$@"
  "${kind}_install" "$NEXT"
  is 'the configuration' "$(tail -n 1 "$R$CONFIG")" '# next'
  is 'what is there' "$(ls "$R${CONFIG%/*}")" config.toml
}

# dpkg has nobody to ask: the hook of the new version is there all the same, with
# the configuration of before, until somebody has said what he wants.
asks_about_a_changed_configuration() {
  with "$@"
  echo '# changed' >>"$R$CONFIG"
  if deb_install "$NEXT"; then fail 'it does not ask'; fi
  is 'the configuration' "$(tail -n 1 "$R$CONFIG")" '# changed'
  start_container "$FIRST" $CIP
  is_at "$FIRST" $CIP
  deb_install "$NEXT" --force-confnew
  is 'the configuration' "$(tail -n 1 "$R$CONFIG")" '# next'
  has_line "$(cat "$R$CONFIG.dpkg-old")" '# changed'
}

keeps_a_changed_configuration() {
  with "$@"
  echo '# changed' >>"$R$CONFIG"
  "${kind}_remove"
  has_line "$(cat "$R$CONFIG"*)" '# changed'
}

# lifecycle KIND SUITE
lifecycle() {
  local test
  for test in installs keeps_what_is_enabled upgrades removes purges_and_installs_again removes_pins \
    takes_a_new_configuration keeps_a_changed_configuration; do
    t "$1 on $2: ${test//_/ }" life "$test" "$@"
  done
}

# A test is a subshell: what it mounts it has to take away itself.
life() {
  trap leave_root EXIT
  "$@"
}
