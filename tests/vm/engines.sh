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
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

read -r -a systems <<<"${SYSTEMS:-trixie sid}"
engines=${ENGINES:-systemd podman buildah docker containerd youki}
patience=${PATIENCE:-1500}
out=$(target_directory)/vm/engines
payload=$(mktemp -d)
trap 'rm -rf "$payload"' EXIT

kernel_of() {
  case $1 in
    bookworm) echo 6.1 ;;
    trixie) echo 6.12 ;;
    *) echo newest ;;
  esac
}

# Its C library is older than the systems' ones, which does no harm.
add_youki() {
  local program
  if program=$("$VM/youki.sh"); then
    cp "$program" "$payload/tests/youki"
  else
    say 'NO YOUKI: its tests are skipped; YOUKI=build make test-engines builds it, once, in some five minutes'
  fi
}

# What is installed is what `make install` installs. The systems' C libraries are
# newer than this one's, so the programs of the tests run there too.
make_payload() {
  local target
  target=$(target_directory)
  make --silent -C "$ROOT" build build-tests
  mkdir -p "$payload"/{files,tests}
  cp -a "$VM/guest/system/." "$payload/files/"
  make --silent -C "$ROOT" install DESTDIR="$payload/files"
  cp "$target/release/echo-server" "$target/debug/at-pin" "$ROOT/tests/"{runner,image}.sh "$VM/guest/engines/"* \
    "$ROOT/docs/examples/web.container" "$payload/tests/"
  add_youki
  ln -s tests/run.sh "$payload/run"
  chmod 755 "$payload"
  echo "$engines" >"$payload/engines"
  printf '%s\n' "$@" >"$payload/words"
}

# Boots a system, and again as long as a boot asks for it by the status 200.
# What was said in all is left in the file `output`.
run_on() {
  local system=$1 machine=$out/$1 status=200 boot start=$SECONDS
  local kernel=$2 image=$3
  truncate --size 8G "$machine/disk"
  mkfs.ext4 -q -E lazy_itable_init=1 "$machine/disk"
  for boot in 1 2 3 4; do
    status=0
    "$VM/boot.sh" "$kernel" "$payload" "$machine/$boot" "$patience" "$image" "$machine/disk" || status=$?
    [ "$status" = 200 ] || break
  done
  cat "$machine"/*/output >"$machine/output"
  rm -f "$machine/disk"
  say "$system: ended with $status after $((SECONDS - start)) s"
  # A test that failed is told by the counts.
  if [ "$status" != 0 ] && ! { [ "$status" = 1 ] && grep -q '^not ok - ' "$machine/output"; }; then
    echo "not ok - $system: the machine ended with $status; see $machine" >>"$machine/output"
    echo '0 passed, 1 failed, 0 skipped' >>"$machine/output"
  fi
}

"$ROOT/tests/setup.sh" vm
rm -rf "$out"
make_payload "$@"
declare -A kernels images
for system in "${systems[@]}"; do
  mkdir -p "$out/$system"
  kernels[$system]=$("$VM/fetch.sh" "$(kernel_of "$system")")
  images[$system]=$("$VM/image.sh" "$system")
done
for system in "${systems[@]}"; do
  run_on "$system" "${kernels[$system]}" "${images[$system]}" &
done
wait

counted='^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$'
for system in "${systems[@]}"; do
  echo "=== $system"
  grep -vE "$counted" "$out/$system/output"
done
for system in "${systems[@]}"; do grep -hE "$counted" "$out/$system/output"; done |
  awk '{ passed += $1; failed += $3; skipped += $5 }
    END { print passed + 0 " passed, " failed + 0 " failed, " skipped + 0 " skipped"; exit failed > 0 }'
