#!/bin/sh
# The same for init scripts as deb-systemd-helper beside it for units: those that
# have no links in /etc/rc?.d yet get links that do not start them. Links that are
# there stay as they are either way.
set -eu
[ "${2:-}" != defaults ] || set -- "$1" defaults-disabled
exec /usr/sbin/update-rc.d "$@"
