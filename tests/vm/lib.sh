# shellcheck shell=bash
# What the scripts in this directory share: the cache, and an apt configuration
# that knows more suites than this machine's own, which stays as it is.
set -euo pipefail

say() { echo "tests/vm: $*" >&2; }
die() { say "$*"; exit 1; }

[ "$(uname -m)" = x86_64 ] || die "the virtual machines are x86-64 ones, this is $(uname -m)"

CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/oci-bind-hook/vm
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
VM=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC2034 # for the scripts that source this
ROOT=$(cd "$VM/../.." && pwd)
mkdir -p "$CACHE"

# Where this machine's apt has the archive of this label from.
archive() {
  local uri
  uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' "Label: $1" |
    sort -u | head -n 1)
  [ -n "$uri" ] || die "apt knows no archive with the label $1: run apt-get update, or add one to its sources"
  echo "$uri"
}

# The sources of one suite. apt checks their signatures by the keyring; how old
# a list may be it does not, since suites that are no longer supported stay.
sources_of() {
  local suite=$1 options="[signed-by=$KEYRING check-valid-until=no]"
  echo "deb $options $(archive Debian) $suite main"
  case $suite in
    sid | *-backports) ;;
    *) echo "deb $options $(archive Debian-Security) $suite-security main" ;;
  esac
}

SUITES='bullseye bookworm bookworm-backports trixie trixie-backports sid'

# apt commands with the configuration of their own.
own_apt() {
  local command=$1
  shift
  "$command" \
    -o Dir::Etc::SourceList="$CACHE/apt/sources.list" -o Dir::Etc::SourceParts="$CACHE/apt/none" \
    -o Dir::Etc::PreferencesParts="$CACHE/apt/none" -o Dir::State::Lists="$CACHE/apt/lists" \
    -o Dir::Cache="$CACHE/apt/cache" -o APT::Sandbox::User=root \
    -o Dir::Cache::pkgcache=pkgcache.bin -o Dir::Cache::srcpkgcache=srcpkgcache.bin \
    -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
    "$@"
}

# Brings the lists up to date, once a day.
update_lists() {
  local suite
  [ -z "$(find "$CACHE/apt/updated" -mmin -1440 2>/dev/null)" ] || return 0
  say 'fetching the package lists'
  [ -e "$KEYRING" ] || die "no $KEYRING: install debian-archive-keyring"
  mkdir -p "$CACHE"/apt/{none,lists/partial,cache/archives/partial}
  for suite in $SUITES; do sources_of "$suite"; done >"$CACHE/apt/sources.list"
  own_apt apt-get -q update >"$CACHE/apt/log" 2>&1 ||
    { cat "$CACHE/apt/log" >&2; die 'could not fetch the package lists'; }
  touch "$CACHE/apt/updated"
}

# bootstrap SUITE TARGET LOG OPTION...: a system of that suite, by mmdebstrap.
bootstrap() {
  local suite=$1 target=$2 log=$3 sources
  shift 3
  mapfile -t sources < <(sources_of "$suite")
  mmdebstrap --mode=root "$@" "$suite" "$target" "${sources[@]}" >"$log" 2>&1 ||
    { cat "$log" >&2; die "could not make a system of Debian $suite"; }
}

# add_libraries ROOT PROGRAM...: what these programs of this machine are linked
# with, at the same paths below ROOT.
add_libraries() {
  local root=$1 file
  shift
  for file in $(ldd "$@" 2>/dev/null | grep -o '/[^ )]*\.so[^ )]*' | sort -u); do
    mkdir -p "$root$(dirname "$file")"
    cp --dereference "$file" "$root$file"
  done
}
