#!/bin/busybox sh
# shellcheck shell=dash
# Runs the test binaries in a test machine, as /payload/run: the trials with
# the text of /payload/filter in their names, or all of them.
tests=/payload/target/deps
export OCI_BIND_HOOK=/payload/target/oci-bind-hook

# Not in the root cgroup, which no policy can govern.
mkdir /sys/fs/cgroup/tests
echo $$ >/sys/fs/cgroup/tests/cgroup.procs

cp -a /payload/files/. /
set --
[ ! -s /payload/filter ] || set -- "$(cat /payload/filter)"

if [ -s /payload/smoke ]; then
  export SMOKE=yes
  # So that the kernel counts the runs of each program.
  echo 1 >/proc/sys/kernel/bpf_stats_enabled
fi

echo "Linux $(uname -r)"
status=0
for binary in "$tests"/*; do
  echo "=== ${binary##*/}"
  "$binary" --color=never "$@" || status=1
done
exit $status
