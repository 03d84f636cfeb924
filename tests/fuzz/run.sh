#!/bin/bash
# Hostile input, found by coverage-guided fuzzing (libFuzzer, stable Rust).
# Usage: [FUZZ_SECONDS=60] tests/fuzz/run.sh [TARGET]...
# Gives each target, or those named, its share of the seconds. What was found
# before is in target/fuzz/corpus, and is where the next run goes on. An input
# that breaks something is kept, and the line that runs it again is printed.
set -euo pipefail

cd "$(dirname "$0")/../.."
# shellcheck source=tests/runner.sh
. tests/runner.sh

SECONDS_IN_ALL=${FUZZ_SECONDS:-60}
OUT=$(cargo metadata --format-version 1 --no-deps --offline |
  sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/fuzz
HOST=$(rustc --version --verbose | sed -n 's/^host: //p')
FUZZER=$OUT/$HOST/fuzz/oci-bind-hook-fuzz

# What cargo-fuzz passes, without a sanitizer: none of what is fuzzed is unsafe.
# For one target triple, so that build scripts and macros are not instrumented.
build() {
  RUSTFLAGS='--cfg fuzzing -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares' \
    cargo build --quiet --locked --profile fuzz --package oci-bind-hook-fuzz \
    --features libfuzzer --target "$HOST" --target-dir "$OUT"
}

fuzz() {
  local corpus=$OUT/corpus/$target found=$OUT/found/$target status=0
  local seeds=tests/fuzz/seeds/$target words=tests/fuzz/dictionaries/$target
  # The profile of values tells how near a comparison was.
  local options=("-max_total_time=$share" -use_value_profile=1 -timeout=10
    -rss_limit_mb=1024 "-artifact_prefix=$found/" -print_final_stats=1)
  mkdir -p "$corpus" "$found"
  [ ! -e "$words" ] || options+=("-dict=$words")
  [ ! -e "$seeds" ] || options+=("$seeds")
  RUST_BACKTRACE=0 FUZZ_TARGET=$target "$FUZZER" "$corpus" "${options[@]}" >"$OUT/$target.log" 2>&1 || status=$?
  if [ "$status" != 0 ]; then
    grep -vE '^(#|INFO|NEW|WARNING)' "$OUT/$target.log" | tail -n 20
    artifact=$(sed -n 's/.*Test unit written to //p' "$OUT/$target.log")
    fail "again: FUZZ_TARGET=$target $FUZZER $artifact"
  fi
  # Without it libFuzzer takes any input at random, and does not mind.
  grep -q ' cov: [1-9]' "$OUT/$target.log" || fail "what is fuzzed is not instrumented for coverage"
}

after_each() {
  awk '/ cov: / { edges = $4 } /number_of_executed_units/ { runs = $2 }
    END { printf "  %d runs, %d edges\n", runs, edges }' "$OUT/$target.log"
}

tests/setup.sh fuzz
build
mapfile -t targets < <(if [ $# -gt 0 ]; then printf '%s\n' "$@"; else "$FUZZER" 2>/dev/null; fi)
share=$((SECONDS_IN_ALL / ${#targets[@]}))
[ "$share" -gt 0 ] || share=1
for target in "${targets[@]}"; do
  t "hostile input: $target" fuzz
done
counts
