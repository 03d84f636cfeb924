# shellcheck shell=bash
# podman with youki, which Debian does not have: what youki.sh of the host built.
set -euo pipefail

# podman.sh has what it shares with the other runtimes.
# shellcheck source=tests/vm/guest/engines/podman.sh
. ./podman.sh

youki_missing() { skip 'YOUKI=build make test-engines builds it, once, in some five minutes'; }

test_youki() {
  clean() { clean_podman; }
  if [ ! -e youki ]; then
    t 'podman, youki' youki_missing
    return
  fi
  runtime=/payload/tests/youki
  try 'podman, youki: a server and its calls' annotation
  try 'podman, youki: exec is under the policy' executed
  try 'podman, youki: restart keeps it' restarted
  try 'podman, youki: a bad annotation stops the start and says why' bad_annotation
}
