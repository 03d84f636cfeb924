#!/bin/bash
# The installed hook under real engines, in machines that run Debian systems:
# systemd, unified cgroup2, engines as packaged.
# Usage: tests/vm/engines.sh [WORD...]       or  make test-engines
#   WORD      only the tests that have one of these in their names
#   ENGINES   which: "systemd podman buildah docker containerd youki" if nothing
#             is said
#   SYSTEMS   which: "trixie sid" if nothing is said
#   YOUKI     "build" builds youki, which Debian lacks; skipped where it is not there
#   PATIENCE  seconds that a machine has for each boot, 1500
# Ends with `N passed, N failed, N skipped`.
# What decides and counts is in tests/machines.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/setup.sh vm
exec cargo run --quiet --locked --package oci-bind-hook-machines -- engines "$@"
