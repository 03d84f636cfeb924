# shellcheck shell=bash
# For scripts that run a program which is not installed but kept in the cache, in
# DIRECTORY below CACHE.
#   keep NAME    unless it is there, has the script's function `fetch DIRECTORY` make NAME
#                in that scratch directory, and keeps it
#   require      ends with 3 where it is not in the cache
#   unpack DIRECTORY PACKAGE...   unpacks Debian's packages into DIRECTORY/files; needs apt
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/oci-bind-hook

say() { echo "$0: $*" >&2; }

# One at a time: other checkouts use the cache too.
keep() {
  local work
  mkdir -p "$CACHE"
  exec 9>"$DIRECTORY.lock"
  flock 9
  [ ! -d "$DIRECTORY" ] || return 0
  work=$(mktemp --directory --tmpdir="$CACHE")
  # shellcheck disable=SC2064 # the directory of now
  trap "rm -rf '$work'" EXIT
  say "fetching $DIRECTORY"
  fetch "$work" >&2 9>&-
  mv --no-target-directory "$work/$1" "$DIRECTORY"
}

unpack() {
  local directory=$1 package
  shift
  apt-get update -qq
  (cd "$directory" && apt-get download -qq -o Acquire::Retries=3 -o APT::Sandbox::User=root "$@")
  for package in "$directory"/*.deb; do dpkg-deb --extract "$package" "$directory/files"; done
}

require() {
  [ -d "$DIRECTORY" ] || { say "$DIRECTORY is not there: $0 --fetch gets it"; exit 3; }
}
