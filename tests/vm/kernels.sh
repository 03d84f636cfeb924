#!/bin/bash
# The scenario tests on Debian's kernels, each in a virtual machine.
# Usage: tests/vm/kernels.sh [FILTER]        or  make test-kernels
#   FILTER           only the trials whose names have this in them
#   KERNELS          which: "5.10 6.1 6.12 newest" if nothing is said
#   TESTS            which suites: those that the kernel makes a difference to if
#                    nothing is said; `check` takes minutes here, most of them
#                    about files
#   JOBS             how many machines at once, 2
#   MISSING_KERNELS  `skip`: a kernel that the archive lacks is no failure
# Ends with a table and `N passed, N failed, N skipped`.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

filter=${1:-}
read -r -a series <<<"${KERNELS:-5.10 6.1 6.12 newest}"
tests=${TESTS:-scenarios input lifecycle breakers faults}
patience=${PATIENCE:-2400}
# Not in the cache, which other checkouts use too.
out=$(target_directory)/vm/kernels
payload=$(mktemp -d)
trap 'rm -rf "$payload"' EXIT

# Statically linked, so that a machine needs nothing but them. With --target
# the flags do not reach the build scripts and procedural macros, which cannot
# be static.
build() {
  local triple=x86_64-unknown-linux-gnu binary
  export RUSTFLAGS='-C target-feature=+crt-static' CARGO_PROFILE_DEV_DEBUG=0
  CARGO_TARGET_DIR=$(target_directory)/vm
  export CARGO_TARGET_DIR
  cargo build --release --locked --target $triple --package oci-bind-hook
  # shellcheck disable=SC2046,SC2086 # lists of plain words
  cargo test --no-run --locked --target $triple --package oci-bind-hook-tests \
    $(printf ' --test %s' $tests) 2>&1 | tee "$payload/log"
  mkdir -p "$payload/target/deps"
  cp "$CARGO_TARGET_DIR/$triple/release/oci-bind-hook" "$payload/target/"
  for binary in socket-agent named-client raw-listener; do
    cp "$CARGO_TARGET_DIR/$triple/debug/$binary" "$payload/target/"
  done
  #   Executable tests/scenarios/main.rs (target/.../deps/scenarios-0123456789abcdef)
  sed -n 's/^ *Executable .*(\(.*\))$/\1/p' "$payload/log" | while read -r binary; do
    cp "$binary" "$payload/target/deps/$(basename "${binary%-*}")"
  done
  [ -n "$(ls -A "$payload/target/deps")" ] || die 'cargo did not say where it put the tests'
  rm "$payload/log"
}

# The trials compare SEMANTICS.md, at the path where it was when they were
# built, with themselves.
make_payload() {
  build
  cp "$VM/guest/trials.sh" "$payload/run"
  printf '%s' "$filter" >"$payload/filter"
  mkdir -p "$payload/files$ROOT/tests"
  cp "$ROOT/tests/SEMANTICS.md" "$payload/files$ROOT/tests/"
}

# Runs one machine, whose directory gets a file `problem` when it ends badly
# without a trial that failed.
run_on() {
  local kernel=$1 status=0 start=$SECONDS
  "$VM/boot.sh" "$kernel" "$payload" "$out/${kernel##*/}" "$patience" || status=$?
  say "Linux ${kernel##*/}: ended with $status after $((SECONDS - start)) s"
  if [ "$status" != 0 ] && ! { [ "$status" = 1 ] && grep -q '^test .* FAILED$' "$out/${kernel##*/}/output"; }; then
    echo "$status" >"$out/${kernel##*/}/problem"
  fi
}

# The report of each trial that failed.
show_failures() {
  sed -n '/^failures:$/,/^test result:/p' "$1/output" | sed '/^test result:/d; /^failures:$/d; /^    /d; /^$/d'
}

"$ROOT/tests/setup.sh" vm
rm -rf "$out"
mkdir -p "$out"
kernels=() failed=0 skipped=0
for name in "${series[@]}"; do
  status=0
  kernel=$("$VM/fetch.sh" "$name") || status=$?
  case $status:${MISSING_KERNELS:-} in
    0:*) kernels+=("$kernel") ;;
    3:skip) echo "skipped - Linux $name: Debian's archive does not have it"; skipped=$((skipped + 1)) ;;
    *) echo "not ok - Linux $name: could not be had; MISSING_KERNELS=skip goes on without"; failed=$((failed + 1)) ;;
  esac
done
make_payload

for kernel in "${kernels[@]}"; do
  # No more than JOBS at once.
  while [ "$(jobs -rp | wc -l)" -ge "${JOBS:-2}" ]; do wait -n || true; done
  run_on "$kernel" &
done
wait

outputs=()
for kernel in "${kernels[@]}"; do
  machine=$out/${kernel##*/}
  outputs+=("$machine/output")
  if [ -e "$machine/problem" ]; then
    echo "not ok - Linux ${kernel##*/}: the machine ended with $(cat "$machine/problem"); its output ends:"
    tail -n 20 "$machine/output" | sed 's/^/  | /'
    failed=$((failed + 1))
  fi
  show_failures "$machine" | sed "s/^---- /---- ${kernel##*/}: /"
done
awk -f "$VM/table.awk" "$ROOT/tests/SEMANTICS.md" "${outputs[@]}" | tee "$out/table" | sed '$d'
read -r trials_passed trials_failed trials_skipped < <(tail -n 1 "$out/table")
failed=$((failed + trials_failed))
echo "$trials_passed passed, $failed failed, $((skipped + trials_skipped)) skipped"
[ "$failed" = 0 ]
