#!/bin/bash
# Every test: the unit and property tests, the scenarios on this kernel, the
# engines, the installation. All parts run, whatever fails before; the last
# line is `N passed, N failed, N skipped`.
set -euo pipefail

cd "$(dirname "$0")/.."
passed=0 failed=0 skipped=0
LOG=$(mktemp)
trap 'rm -f "$LOG"' EXIT

count() {
  passed=$((passed + $1))
  failed=$((failed + $2))
  skipped=$((skipped + $3))
}

# part NAME COUNTER COMMAND...: runs one part, shows what it says except for
# its own counts, which are added up. A part that ends badly and counted no
# failure, because it could not be built or was killed, is one.
part() {
  local name=$1 counter=$2 counted status=0
  shift 2
  echo "=== $name"
  set +e
  "$@" 2>&1 </dev/null | tee "$LOG" | grep --line-buffered -vE '^[0-9]+ passed, [0-9]+ failed, '
  status=${PIPESTATUS[0]}
  set -e
  read -r -a counted < <("$counter" "$LOG")
  if [ "$status" != 0 ] && [ "${counted[1]}" = 0 ]; then
    echo "not ok - $name: ended with status $status"
    counted[1]=1
  fi
  count "${counted[@]}"
}

# test result: ok. 12 passed; 0 failed; 1 ignored; ...
cargo_counts() {
  awk '/^test result: / { passed += $4; failed += $6; ignored += $8 }
    END { print passed + 0, failed + 0, ignored + 0 }' "$1"
}

script_counts() {
  awk '/^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/ { passed += $1; failed += $3; skipped += $5 }
    END { print passed + 0, failed + 0, skipped + 0 }' "$1"
}

no_counts() { echo 0 0 0; }

# What is tested is what is shipped: the release binary, for all parts.
build() {
  tests/setup.sh test && make --silent build
}

release_binary() {
  echo "$(cargo metadata --format-version 1 --no-deps --offline |
    sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/release/oci-bind-hook"
}

part 'set up and build' no_counts build
OCI_BIND_HOOK=${OCI_BIND_HOOK:-$(release_binary)}
export OCI_BIND_HOOK
part 'unit tests and scenarios' cargo_counts cargo test --workspace --locked --no-fail-fast
part 'engines' script_counts tests/engines.sh
part 'installation' script_counts tests/install.sh

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
