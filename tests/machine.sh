#!/bin/bash
# What tests/setup.sh does to the machine: nothing that it installs is started, or
# enabled at boot, and what the administrator has enabled stays so. It runs in
# copies of this system, which are gone with their namespaces, and installs
# packages that are made here.
set -euo pipefail
# shellcheck source=tests/runner.sh
. "$(dirname "$0")/runner.sh"

cd "$(dirname "$0")/.."
SCRIPT=tests/machine.sh
LIST=tests/programs/packages
RUNLEVEL=/usr/sbin/runlevel
WORK=/run/packages

# in_copy FUNCTION: runs it in a copy of the system.
in_copy() {
  [ "$(id -u)" = 0 ] || fail 'must be root'
  command -v dpkg-query >/dev/null && command -v apt-get >/dev/null || skip 'not a Debian system'
  unshare --mount --propagation private --pid --fork --kill-child -- "$SCRIPT" --copy "$1"
}

# The copy: /run is empty, so that no process of the system is found or reached
# from here, and what is written to /etc, /usr and /var ends there, in memory.
make_copy() {
  local directory written
  mount -t tmpfs -o mode=755 none /run
  mount -t proc proc /proc
  for directory in etc usr var; do
    written=/run/written/$directory
    mkdir -p "$written/upper" "$written/work"
    mount -t overlay -o "lowerdir=/$directory,upperdir=$written/upper,workdir=$written/work" none "/$directory" ||
      skip "this kernel makes no overlay of /$directory"
  done
  mkdir "$WORK"
  finish_installations
}

# Somebody may be installing something in the system. Here that is done with.
finish_installations() {
  local status=/var/lib/dpkg/status
  awk -v RS= -v ORS='\n\n' '/\nStatus: install ok /' $status |
    sed -E 's/^(Status: install ok ).*/\1installed/; /^(Triggers-(Pending|Awaited)|Config-Version):/d' >/run/status
  cp /run/status $status
  rm -f /var/lib/dpkg/updates/*
}

# An init that starts what is enabled, as a system that runs would: no policy of
# containers, and a runlevel.
with_init() {
  rm -f /usr/sbin/policy-rc.d $RUNLEVEL
  printf '#!/bin/sh\necho N 2\n' >$RUNLEVEL
  chmod 755 $RUNLEVEL
  [ -e /usr/sbin/init ] || ln -sf /usr/bin/true /usr/sbin/init
}

# --- packages ----------------------------------------------------------------

# The service says in /run when it starts. Its package does what debhelper has
# packages do, which is what all services of Debian's do.
make_service() {
  local version=$1 root=$WORK/service
  rm -rf "$root"
  mkdir -p "$root/DEBIAN" "$root/etc/init.d" "$root/usr/lib/systemd/system"
  control probe-service "$version" >"$root/DEBIAN/control"
  echo /etc/init.d/probe >"$root/DEBIAN/conffiles"
  # An enabled one gets another link with the next version.
  cat >"$root/usr/lib/systemd/system/probe.service" <<END
[Service]
ExecStart=/bin/true
[Install]
WantedBy=multi-user.target
Alias=probe-$version.service
END
  cat >"$root/etc/init.d/probe" <<'END'
#!/bin/sh
### BEGIN INIT INFO
# Provides: probe
# Required-Start:
# Required-Stop:
# Default-Start: 2 3 4 5
# Default-Stop: 0 1 6
### END INIT INFO
echo "$1" >>/run/probe
END
  cat >"$root/DEBIAN/postinst" <<'END'
#!/bin/sh
set -e
if [ -e /run/interrupt ]; then
  rm /run/interrupt
  kill -KILL $PPID
  exit 1
fi
update-rc.d probe defaults >/dev/null
invoke-rc.d --skip-systemd-native probe start
deb-systemd-helper unmask probe.service >/dev/null || true
if deb-systemd-helper --quiet was-enabled probe.service; then
  deb-systemd-helper enable probe.service >/dev/null || true
else
  deb-systemd-helper update-state probe.service >/dev/null || true
fi
END
  chmod 755 "$root/etc/init.d/probe" "$root/DEBIAN/postinst"
  build "$root"
}

# The program that tests want. It brings the service along.
make_program() {
  local root=$WORK/program
  rm -rf "$root"
  mkdir -p "$root/DEBIAN"
  control probe-program "$1" "Depends: probe-service (>= $1)" >"$root/DEBIAN/control"
  build "$root"
}

# control NAME VERSION [LINE...]
control() {
  printf '%s\n' "Package: $1" "Version: $2" 'Architecture: all' 'Maintainer: Nobody <nobody@localhost>' \
    'Description: for a test' "${@:3}"
}

build() { dpkg-deb --build --root-owner-group "$1" "$WORK" >/dev/null; }

# offer VERSION: makes both, the only ones that apt knows then.
offer() {
  local package
  make_service "$1"
  make_program "$1"
  for package in "$WORK"/*_"$1"_all.deb; do
    dpkg-deb --field "$package"
    echo "Filename: ./${package##*/}"
    echo "Size: $(stat --format %s "$package")"
    echo "SHA256: $(sha256sum "$package" | cut -d' ' -f1)"
    echo
  done >"$WORK/Packages"
  mkdir -p /etc/apt/sources.list.d
  rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
  echo "deb [trusted=yes] file:$WORK ./" >/etc/apt/sources.list
  # What the tests need is the program, besides what is here already.
  echo probe-program >"$WORK/list"
  [ -e "$WORK/bound" ] || mount --bind "$WORK/list" "$LIST"
  touch "$WORK/bound"
}

# --- tests -------------------------------------------------------------------

set_up() { tests/setup.sh test; }

enabled() { find /etc/systemd /etc/rc?.d -type l \( -path '/etc/systemd/*' -o -name 'S*' \) | sort; }

started() { cat /run/probe 2>/dev/null || true; }

installed() { dpkg-query --show --showformat '${Package} ${Version} ${db:Status-Status}\n' probe-program probe-service; }

# A service that nobody keeps off, as the administrator has it.
install_enabled() {
  apt-get update -qq
  apt-get install -qqy probe-service
  is 'what the administrator started' "$(started)" start
  mentions "$(enabled)" /etc/systemd/system/multi-user.target.wants/probe.service
  mentions "$(enabled)" /etc/rc2.d/S01probe
}

keeps_new_services_off() {
  local before
  offer 1
  before=$(enabled)
  set_up
  has_line "$(installed)" 'probe-program 1 installed'
  has_line "$(installed)" 'probe-service 1 installed'
  diff <(echo "$before") <(enabled)
  is 'what was started' "$(started)" ''
  is 'what it says when everything is there' "$(set_up 2>&1)" ''
  # Nor does the next version change that.
  offer 2
  apt-get update -qq
  apt-get install -qqy probe-program
  has_line "$(installed)" 'probe-service 2 installed'
  diff <(echo "$before") <(enabled)
  is 'what was started' "$(started)" ''
}

keeps_enabled_services_on() {
  local before
  offer 1
  install_enabled
  before=$(enabled)
  offer 2
  set_up
  has_line "$(installed)" 'probe-service 2 installed'
  diff <(sort - <(echo /etc/systemd/system/probe-2.service) <<<"$before") <(enabled)
  is 'what was started' "$(started)" $'start\nstart'
}

goes_on_after_an_interruption() {
  local before
  offer 1
  before=$(enabled)
  touch /run/interrupt
  ! set_up || fail 'it was not interrupted'
  set_up
  has_line "$(installed)" 'probe-program 1 installed'
  diff <(echo "$before") <(enabled)
  is 'what was started' "$(started)" ''
}

if [ "${1:-}" = --copy ]; then
  make_copy
  with_init
  "$2"
  exit
fi
# What else the tests need must be here: the copies have no network.
set_up
only=("$@")
t 'setup: services that come with packages stay off' in_copy keeps_new_services_off
t 'setup: a service that was enabled stays enabled' in_copy keeps_enabled_services_on
t 'setup: after an interruption too, services stay off' in_copy goes_on_after_an_interruption
counts
