#!/bin/bash
# Tests that would notice: cargo-mutants changes the decisions of the eBPF
# programs and the parsers of what others write, one place at a time, and a unit
# test has to fail.
# Usage: tests/mutants.sh [WORD]...
# With words, only files whose paths contain one of them: `tests/mutants.sh ebpf`,
# `tests/mutants.sh state cgroup`. A mutant that no test notices is a failure, unless
# tests/mutants/accepted has it, with the reason.
set -euo pipefail

cd "$(dirname "$0")/.."
# shellcheck source=tests/runner.sh
. tests/runner.sh

VERSION=27.1.0
TOOLS=${XDG_CACHE_HOME:-$HOME/.cache}/oci-bind-hook/cargo-mutants-$VERSION
OUT=$(cargo metadata --format-version 1 --no-deps --offline |
  sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/mutants
ACCEPTED=tests/mutants/accepted

# Decisions, tested by ebpf/tests.
EBPF=(ebpf/src/decide/{address,bind,bound,connect,deliver,dual,endpoint,guard}.rs
  ebpf/src/decide/{loopback,names,port,sendmsg,socket,verdict}.rs)
# Parsers, and the unit tests of these modules.
HOOK=(hook/src/input/{annotations,state,config,config/file,request,request/ports,request/setting}.rs
  hook/src/plan/rules.rs hook/src/host/cgroup/{choose,mount}.rs hook/src/kernel/deliver/needs.rs)
HOOK_TESTS=(input:: plan:: cgroup::choose:: cgroup::mount:: deliver::needs::)

say() { echo "tests/mutants.sh: $*" >&2; }

install_cargo_mutants() {
  [ -x "$TOOLS/bin/cargo-mutants" ] && return
  say "building cargo-mutants $VERSION (about two minutes)"
  cargo install cargo-mutants --version "$VERSION" --locked --root "$TOOLS" >&2
}

# copy_tree TREE: the sources, beside what was built of them before. They get the
# time of now: what was built of a mutant when a run was ended is older.
copy_tree() {
  mkdir -p "$1"
  find "$1" -mindepth 1 -maxdepth 1 ! -name target -exec rm -rf {} +
  tar --create --exclude=./target --exclude=./.git . | tar --extract --touch --directory "$1"
}

# Makes one program of the test files in a directory: linking each of them takes
# longer than all else that there is to do for a mutant.
join_tests() {
  local file name
  for file in "$1"/*.rs; do
    name=$(basename "$file" .rs)
    printf '#[path = "%s.rs"]\nmod %s;\n' "$name" "$name"
  done >"$1/all.rs.new"
  mv "$1/all.rs.new" "$1/all.rs"
}

# mutate PACKAGE TARGET FILE... -- TEST...: changes these files of a package, and
# runs the tests of this target of it, or those of them whose names contain a TEST.
mutate() {
  local package=$1 target=$2 tree=$OUT/$1/tree files=()
  shift 2
  while [ "$1" != -- ]; do
    files+=("--file=$1")
    shift
  done
  copy_tree "$tree"
  [ "$target" != --test=all ] || join_tests "$tree/ebpf/tests"
  cd "$tree"
  # The same values in each run, and no search for the smallest one that fails.
  export PROPTEST_RNG_SEED=1 PROPTEST_CASES=64 PROPTEST_MAX_SHRINK_ITERS=0
  export PROPTEST_DISABLE_FAILURE_PERSISTENCE=1
  export CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=$tree/target
  exec "$TOOLS/bin/cargo-mutants" mutants --no-config --in-place --output "$OUT/$package" \
    --package "$package" --cargo-arg="$target" --timeout 60 --colors never "${files[@]}" "$@"
}

# start PACKAGE ...: does that in the background, if there is a file.
declare -A started
start() {
  [ "$3" != -- ] || return 0
  mkdir -p "$OUT/$1"
  mutate "$@" >"$OUT/$1/log" 2>&1 </dev/null &
  started[$1]=$!
}

# judge PACKAGE FILE...: waits for it, and counts what was caught and what was not.
judge() {
  local package=$1 list=$OUT/$1/mutants.out status=0 mutant key
  shift
  [ $# -gt 0 ] || return 0
  wait "${started[$package]}" || status=$?
  # All caught, some missed, some timed out, which is noticed too.
  if [[ ! $status =~ ^[023]$ ]]; then
    echo "not ok - mutants of $package"
    tail -n 30 "$OUT/$package/log" | sed 's/^/  | /'
    failed=$((failed + 1))
    return
  fi
  passed=$((passed + $(cat "$list/caught.txt" "$list/timeout.txt" | wc -l)))
  sed 's/^/timed out - /' "$list/timeout.txt"
  : >"$list/accepted"
  while read -r mutant; do
    key=$(key "$package" "$mutant")
    if grep -qxF -- "$key" "$ACCEPTED"; then
      echo "$key" >>"$list/accepted"
    else
      echo "not ok - $mutant"
      echo "  | $key"
      failed=$((failed + 1))
    fi
  done <"$list/missed.txt"
  sort -u "$list/accepted" | sed 's/^/accepted - /'
  # What is on the list and is noticed now, or is gone, has to leave it.
  while read -r key; do
    [[ " $* " == *" ${key%%:*} "* ]] || continue
    if ! grep -qxF -- "$key" "$list/accepted"; then
      echo "not ok - accepted, but it does not survive: $key"
      failed=$((failed + 1))
    fi
  done < <(grep -vE '^(#|$)' "$ACCEPTED")
}

# key PACKAGE MUTANT: its line of code in place of the numbers, which other changes
# move.
key() {
  local file line mutation
  IFS=: read -r file line _ mutation <<<"$2"
  echo "$file:$mutation: $(sed -n "${line}s/^ *//p" "$OUT/$1/tree/$file")"
}

wanted() {
  local file
  for file; do
    if is_wanted "$file"; then echo "$file"; fi
  done
}

only=("$@")
mapfile -t ebpf < <(wanted "${EBPF[@]}")
mapfile -t hook < <(wanted "${HOOK[@]}")
[ $((${#ebpf[@]} + ${#hook[@]})) -gt 0 ] || { say "no file has $* in its path"; exit 2; }
install_cargo_mutants
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
# Side by side, since neither keeps two processors busy.
start oci-bind-hook-ebpf --test=all "${ebpf[@]}" --
start oci-bind-hook --lib "${hook[@]}" -- -- "${HOOK_TESTS[@]}"
judge oci-bind-hook-ebpf "${ebpf[@]}"
judge oci-bind-hook "${hook[@]}"
counts
