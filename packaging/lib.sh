# shellcheck shell=bash
# What the scripts that make packages share.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die() { echo "${0##*/}: $*" >&2; exit 1; }
# Progress, on standard error: standard output has the paths of what was made.
say() { echo "packaging: $*" >&2; }

# What the workspace calls itself.
version() { sed -n 's/^version = "\(.*\)"$/\1/p' "$ROOT/Cargo.toml" | head -n 1; }

# Times in packages are those of the last commit, so that a second build is the
# same as the first.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$ROOT" log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
# Nor do modes depend on who builds.
umask 022

need() {
  local command
  for command in "$@"; do
    command -v "$command" >/dev/null || die "no $command: run tests/setup.sh packages"
  done
}

# archive DIRECTORY TAR-ARGUMENT...: a tar of what is in the directory, in which
# nothing tells who made it, when, or where.
archive() {
  tar --create --directory "$1" --sort=name --owner=0 --group=0 --numeric-owner \
    --mode=u+rw,go=rX --mtime="@$SOURCE_DATE_EPOCH" "${@:2}"
}

# pack DIRECTORY FILE TAR-ARGUMENT...: the same, compressed.
pack() { archive "$1" "${@:3}" | gzip --no-name >"$2"; }
