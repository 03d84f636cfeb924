#!/bin/bash
# The tests that a kernel makes a difference to, on Debian's kernels, each in a
# virtual machine.
# Usage: tests/vm/kernels.sh [FILTER]        or  make test-kernels
#   FILTER           only the trials whose names have this in them
#   KERNELS          which: "5.10 6.1 6.12 newest" if nothing is said
#   TESTS            which suites: those that the kernel makes a difference to if
#                    nothing is said
#   SMOKE            `yes`: of the scenarios, one trial of each row; together they must
#                    have run every program
#   JOBS             how many machines at once, 2
#   MISSING_KERNELS  `skip`: a kernel that the archive lacks is no failure
# Ends with a table and `N passed, N failed, N skipped`.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

filter=${1:-}
read -r -a series <<<"${KERNELS:-5.10 6.1 6.12 newest}"
tests=${TESTS:-scenarios lifecycle breakers faults}
patience=${PATIENCE:-2400}
# Not in the cache, which other checkouts use too.
out=$(target_directory)/vm/kernels
payload=$(mktemp -d)
trap 'rm -rf "$payload"' EXIT

# What `make test` builds too. A machine needs nothing but the programs and
# their libraries.
build() {
  local binary name target programs=(socket-agent named-client raw-listener at-pin)
  target=$(target_directory)
  CARGO_TERM_COLOR=never CARGO_TERM_QUIET=false make --silent -C "$ROOT" build build-tests 2>&1 |
    tee "$payload/log"
  mkdir -p "$payload/target/deps"
  cp "$target/release/oci-bind-hook" "$payload/target/"
  for name in "${programs[@]}"; do cp "$target/debug/$name" "$payload/target/"; done
  #   Executable tests/scenarios/main.rs (target/.../deps/scenarios-0123456789abcdef)
  for name in $tests; do
    binary=$(sed -n "s/^ *Executable .*(\(.*\/$name-[0-9a-f]*\))$/\1/p" "$payload/log")
    [ -n "$binary" ] || die "cargo did not say where it put the test $name"
    (cd "$ROOT" && cp "$binary" "$payload/target/deps/$name")
  done
  rm "$payload/log"
  add_libraries "$payload/files" "$payload"/target/deps/* "${programs[@]/#/$payload/target/}"
}

# The trials compare SEMANTICS.md, at the path where it was when they were
# built, with themselves.
make_payload() {
  build
  cp "$VM/guest/trials.sh" "$payload/run"
  printf '%s' "$filter" >"$payload/filter"
  printf '%s' "${SMOKE:-}" >"$payload/smoke"
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

# Why trials did not run.
show_skipped() {
  sed -n "s/^test \(.*[^ ]\) *\.\.\. ignored (\(.*\))$/skipped - Linux $2, \1: \2/p" "$1/output"
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
  show_failures "$machine" | sed "s/^---- \(.*\) ----$/not ok - Linux ${kernel##*/}: \1/"
  show_skipped "$machine" "${kernel##*/}"
done
awk -f "$VM/table.awk" "$ROOT/tests/SEMANTICS.md" "${outputs[@]}" | tee "$out/table" | sed '$d'
read -r trials_passed trials_failed trials_skipped < <(tail -n 1 "$out/table")
failed=$((failed + trials_failed))
echo "$trials_passed passed, $failed failed, $((skipped + trials_skipped)) skipped"
[ "$failed" = 0 ]
