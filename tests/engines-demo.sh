# shellcheck shell=bash
# The demo, cut short and as README.md shows it: for tests/engines.sh, whose functions
# it uses.
set -euo pipefail

# Starts the demo and waits until its containers are about to start under the
# hook. Signals are as a terminal has them: bash ignores INT in the background.
start_demo() {
  local line
  exec {demo_output}< <(DEMO_NAME=$NAME-demo exec env --default-signal=INT \
    bash "$ENGINE_REPO/tests/demo.sh" 2>&1)
  demo=$!
  while read -r -t 120 -u "$demo_output" line; do
    echo "$line"
    [[ $line != *"with the hook"* ]] || return 0
  done
  fail "the demo ended early"
}

end_demo() {
  kill "-$1" "$demo"
  local status=0
  wait "$demo" || status=$?
  # Why, if that is not how it should have ended.
  [ "$status" = "$2" ] || timeout 10 cat <&"$demo_output" || true
  is "the demo's status" "$status" "$2"
}

# shellcheck disable=SC2154 # addresses are those of engines.sh
nothing_of_the_demo() {
  local name=$NAME-demo
  is addresses "$(ip -brief address show dev lo)" "$addresses"
  is processes "$(pgrep --full -- "/run/$name/" || true)" ''
  is mounts "$(grep -F "/run/$name" /proc/self/mountinfo || true)" ''
  [ ! -e "/run/$name" ] || fail "/run/$name is left"
  [ ! -e "/sys/fs/cgroup/$name" ] || fail "/sys/fs/cgroup/$name is left"
  nothing_attached
}

demo_interrupted() {
  start_demo
  end_demo INT 130
  nothing_of_the_demo
}

demo_after_a_killed_one() {
  start_demo
  end_demo KILL 137
  DEMO_NAME=$NAME-demo bash "$ENGINE_REPO/tests/demo.sh"
  nothing_of_the_demo
}

# The block `demo` of README.md and the picture above it, which EXAMPLES=write writes
# anew.
demo_is_documented() {
  local document=$ENGINE_REPO/README.md picture=$ENGINE_REPO/docs/demo.svg made
  made=$(DEMO_NAME=$NAME-demo bash "$ENGINE_REPO/tests/demo.sh" | sed 1d) || fail "$made"
  awk -f "$ENGINE_REPO/tests/demo.awk" <<<"$made" >"$ENGINE_DIR/demo.svg"
  if [ "${EXAMPLES:-}" = write ]; then cp --no-preserve=mode "$ENGINE_DIR/demo.svg" "$picture"; fi
  is_shown "$document" demo "$made"
  is docs/demo.svg "$(diff "$picture" "$ENGINE_DIR/demo.svg")" ''
}
