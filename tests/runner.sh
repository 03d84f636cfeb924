# shellcheck shell=bash
# The runner of the test scripts, which source this file:
#
#   t NAME FUNCTION... runs one test: `ok - NAME`, `not ok - NAME` with what it
#                      said, or `skipped - NAME: why`
#   counts             ends the script with `N passed, N failed, N skipped`
#
# A script may define `after_each`, and set `only` to words of which a test's
# name must contain one.
set -euo pipefail

passed=0 failed=0 skipped=0
only=()

# The test is a subshell of its own, which the first failing command ends.
t() {
  local name=$1 status=0 log
  shift
  is_wanted "$name" || return 0
  log=$(mktemp)
  # errexit is off below any `if`, `!`, `&&` or `||`: so none of them here.
  set +e
  (
    set -e
    "$@"
  ) >"$log" 2>&1 </dev/null
  status=$?
  set -e
  case $status in
    0)
      echo "ok - $name"
      passed=$((passed + 1))
      ;;
    77)
      echo "skipped - $name: $(tail -n 1 "$log")"
      skipped=$((skipped + 1))
      ;;
    *)
      echo "not ok - $name"
      sed 's/^/  | /' "$log"
      failed=$((failed + 1))
      ;;
  esac
  rm -f "$log"
  if declare -F after_each >/dev/null; then after_each; fi
}

is_wanted() {
  local word
  [ ${#only[@]} -gt 0 ] || return 0
  for word in "${only[@]}"; do
    [[ $1 != *"$word"* ]] || return 0
  done
  return 1
}

counts() {
  echo "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" = 0 ]
}

# --- for the tests -----------------------------------------------------------

skip() { echo "$*"; exit 77; }
fail() { echo "$*"; exit 1; }

is() { [ "$2" = "$3" ] || fail "$1: expected '$3', got '$2'"; }
# A line that must be in a text.
has_line() { grep -qxF -- "$2" <<<"$1" || fail "expected the line: $2"$'\n'"in: $1"; }
# Words that must be in a text.
mentions() { [[ $1 == *"$2"* ]] || fail "expected to read: $2"$'\n'"in: $1"; }
