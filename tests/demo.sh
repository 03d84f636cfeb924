#!/bin/bash
# The main job, for real: two containers on the host's network serve the same
# port on every address, each annotated with an address of its own, and a third
# one calls them; once without the hook and once with it. Prints what happened
# side by side, fails if it is not what the hook promises, and leaves nothing.
set -euo pipefail
# shellcheck source=tests/engine-env.sh
. "$(dirname "$0")/engine-env.sh"

NAME=${DEMO_NAME:-oci-bind-hook-demo}
# Documentation addresses (RFC 5737, RFC 3849): nobody's, so they lead nowhere.
NET4=${DEMO_NET4:-198.51.100.}
NET6=${DEMO_NET6:-2001:db8::}
PORT=${DEMO_PORT:-7070}
declare -A NUMBER=([host]=10 [green]=11 [blue]=12 [client]=13)
# What was observed, by "PHASE WHAT..."; filled by serve and call.
declare -A SEEN
checks=0
subject=
surprises=()
# The process that shows it.
shown=

address4() { echo "$NET4${NUMBER[$1]}"; }
address6() { echo "$NET6${NUMBER[$1]}"; }

# --- the host's side ---------------------------------------------------------

# One demo at a time. The directory is the lock, so that none is left behind;
# a finishing demo removes it, so look that the name still means what was locked.
# Waits a little: what a killed demo was just doing may still hold it.
take_lock() {
  until
    mkdir -p "/run/$NAME"
    exec 9<"/run/$NAME"
    flock --timeout "$ENGINE_DEADLINE" 9 || engine_die "another demo is running on this host"
    [ "/run/$NAME" -ef /dev/fd/9 ]
  do :; done
}

refuse_if_taken() {
  local who address
  for who in "${!NUMBER[@]}"; do
    for address in "$(address4 "$who")" "$(address6 "$who")"; do
      [ -z "$(ip -oneline address show to "$address")" ] ||
        engine_die "this host has the address $address already: choose others, e.g. DEMO_NET4=203.0.113. or DEMO_NET6=2001:db8:7::"
    done
  done
  [ -z "$(ss --no-header --listening --numeric --tcp --udp "sport = :$PORT")" ] ||
    engine_die "port $PORT is taken on this host: choose another with DEMO_PORT=NUMBER"
  [ "$(cat /proc/sys/net/ipv6/conf/lo/disable_ipv6 2>/dev/null)" = 0 ] ||
    engine_die "IPv6 is off on lo: sysctl --write net.ipv6.conf.lo.disable_ipv6=0"
}

# Written down first, so that a later start finds what a killed one added.
add_addresses() {
  local who
  for who in "${!NUMBER[@]}"; do
    echo "$(address4 "$who")/32"
    echo "$(address6 "$who")/128"
  done >"/run/$NAME/addresses"
  for who in "${!NUMBER[@]}"; do
    ip address add "$(address4 "$who")/32" dev lo
    ip address add "$(address6 "$who")/128" dev lo nodad
  done
}

clean_up() {
  local address
  if [ -e "/run/$NAME/addresses" ]; then
    while read -r address; do
      ip address delete "$address" dev lo 2>/dev/null || true
    done <"/run/$NAME/addresses"
  fi
  engine_remove "$NAME"
  # After the cgroups: only programs that nobody uses go.
  "$ENGINE_HOOK" unload >/dev/null
}

end_show() {
  kill -KILL "$shown"
  wait "$shown" || true
}

finish() {
  local status=$?
  # A second interruption must not cut the clean-up short: it takes seconds.
  trap '' INT TERM HUP
  [ -z "$shown" ] || end_show
  clean_up || status=1
  [ "$status" -lt 128 ] || echo "demo: interrupted; cleaned up" >&2
  exit "$status"
}

# --- the containers' side ----------------------------------------------------

# podman run, in this phase, of a container annotated with its two addresses.
run_container() {
  local phase=$1 who=$2
  shift 2
  engine --hooks-dir "$ENGINE_DIR/hooks.d/$phase" run --rm --name "$who" --network host "${ENGINE_RUN[@]}" \
    --annotation "io.oci-bind-hook.ipv4=$(address4 "$who")" \
    --annotation "io.oci-bind-hook.ipv6=$(address6 "$who")" \
    "$ENGINE_IMAGE" "$@"
}

# Starts a server, and notes where each of its sockets is once it is ready.
serve() {
  local phase=$1 who=$2 output protocol asked verdict detail
  # The server outlives a killed demo, whose lock it must not hold.
  exec {output}< <(
    exec 9<&-
    run_container "$phase" "$who" echo-server "$who" "$PORT" 2>&1
  )
  while read -r _ protocol asked verdict detail; do
    case $verdict in
      bound) SEEN[$phase $who $protocol $asked]=${detail% *} ;;
      failed) SEEN[$phase $who $protocol $asked]=$detail ;;
    esac
  done < <(read_announcement "$output" | tee -a "$ENGINE_DIR/log")
}

# Calls every address from the client's container, and notes who answered and
# whom the answering server saw.
call() {
  local phase=$1 address protocol who at peer calls
  # shellcheck disable=SC2016 # for the shell in the container
  local script='
    port=$1; shift
    for call; do
      set -- ${call/,/ }
      echo "$1 $2 $(echo-client "$1" "$port" "$2")"
    done'
  mapfile -t calls < <(all_calls)
  while read -r address protocol who at peer; do
    if [[ $peer = peer=* ]]; then
      SEEN[$phase $address $protocol]=$who
      SEEN[$phase peer $address $protocol]=$(without_port "${peer#peer=}")
    else
      SEEN[$phase $address $protocol]=$who${at:+ $at}${peer:+ $peer}
    fi
  done < <(run_container "$phase" client sh -c "$script" sh "$PORT" "${calls[@]}" 2>&1 |
    tee -a "$ENGINE_DIR/log")
}

# A refusal shows at once on TCP and on connected UDP sockets; only a caller
# that is answered can be asked for more.
all_calls() {
  local who family
  for family in 4 6; do
    for who in green blue host; do
      printf '%s\n' "$("address$family" $who),"{tcp,udp}
    done
    echo "$("address$family" green),udp-sendto"
  done
}

without_port() { local address=${1%:*}; address=${address#[}; echo "${address%]}"; }

phase() {
  echo "demo: $1 the hook ..." >&2
  serve "$1" green
  serve "$1" blue
  call "$1"
  engine rm --all --force --time 0 >/dev/null
}

# --- the table ---------------------------------------------------------------

# One value if all that was seen is the same, otherwise all of them.
observed() {
  local phase=$1 key values
  shift
  values=$(for key in "$@"; do echo "${SEEN[$phase $key]:-nothing}"; done)
  if [ "$(sort -u <<<"$values" | wc -l)" = 1 ]; then
    echo "${values%%$'\n'*}"
  else
    paste -sd/ <<<"$values"
  fi
}

# row LABEL DETAIL PROMISED-WITHOUT PROMISED-WITH KEY...
row() {
  local label=$1 detail=$2 promised_without=$3 promised_with=$4 without with
  shift 4
  without=$(observed without "$@")
  with=$(observed with "$@")
  subject=${label:-$subject} # for the rows that go on below a label
  judge "$subject $detail, without the hook" "$without" "$promised_without"
  judge "$subject $detail, with the hook" "$with" "$promised_with"
  printf '%-13s %-17s %-23s %s\n' "$label" "$detail" "$without" "$with"
}

# A promise that starts with ! is of what must not be seen.
judge() {
  local what=$1 seen=$2 promised=$3
  checks=$((checks + 1))
  case $promised in
    !*) [ "$seen" = "${promised#!}" ] || [ "$seen" = nothing ] || return 0 ;;
    *) [ "$seen" != "$promised" ] || return 0 ;;
  esac
  surprises+=("$what: $seen, promised: ${promised/#!/anything but }")
}

print_table() {
  local who label
  cat <<END

The containers green and blue are on the host's network. Both serve port $PORT,
TCP and UDP, on 0.0.0.0 and on ::. Each is annotated with an address of its own;
so is the container client, which calls them.

END
  printf '%-31s %-23s %s\n' '' 'WITHOUT THE HOOK' 'WITH THE HOOK'
  for who in green blue; do
    local taken4='0.0.0.0' taken6='::'
    [ $who = green ] || { taken4='address in use'; taken6=$taken4; }
    row "$who binds" 0.0.0.0 "$taken4" "$(address4 $who)" "$who tcp 0.0.0.0" "$who udp 0.0.0.0"
    row '' :: "$taken6" "$(address6 $who)" "$who tcp ::" "$who udp ::"
  done
  label='who answers'
  for family in 4 6; do
    for who in green blue host; do
      local address answers=$who
      address=$("address$family" $who)
      [ $who != host ] || answers=refused
      row "$label" "$address" green $answers "$address tcp" "$address udp"
      label=
    done
  done
  label='green sees'
  for family in 4 6; do
    local client
    address=$("address$family" green)
    client=$("address$family" client)
    row "$label" "tcp over IPv$family" "!$client" "$client" "peer $address tcp"
    label=
    row '' "udp over IPv$family" "!$client" "$client" "peer $address udp" "peer $address udp-sendto"
  done
  echo
}

verdict() {
  if [ ${#surprises[@]} = 0 ]; then
    echo "As promised: $checks of $checks observations."
    return
  fi
  printf 'NOT as promised: %s\n' "${surprises[@]}"
  echo "What the containers said:"
  cat "$ENGINE_DIR/log"
  return 1
}

# In a process of its own, and the one with the traps only waits for it: bash 5.2
# cannot run a trap while it looks for the end of a substitution ("unexpected EOF
# while looking for matching `)'"), and ends with the status 2.
show() {
  refuse_if_taken
  add_addresses
  engine_image
  mkdir -p "$ENGINE_DIR/hooks.d/without"
  engine_hooks "$ENGINE_DIR/hooks.d/with"
  phase without
  phase with
  print_table
  verdict
}

engine_enter shared "$@"
take_lock
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
leftovers=$(ls -A "/run/$NAME")
engine_start "$NAME"
if [ -n "$leftovers" ]; then
  echo "demo: cleaning up after one that was killed" >&2
  clean_up
  take_lock
fi
show &
shown=$!
status=0
wait "$shown" || status=$?
shown=
exit "$status"
