# shellcheck shell=bash
# Shared by the scripts that build packages.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die() { echo "${0##*/}: $*" >&2; exit 1; }
# Progress, on standard error: standard output lists the paths of the files built.
say() { echo "packaging: $*" >&2; }

# The version of the workspace.
version() { sed -n 's/^version = "\(.*\)"$/\1/p' "$ROOT/Cargo.toml" | head -n 1; }

# Timestamps in packages are those of the last commit, so that a second build is
# identical to the first.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$ROOT" log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
# File modes must not depend on who builds either.
umask 022

need() {
  local command
  for command in "$@"; do
    command -v "$command" >/dev/null || die "no $command: run tests/setup.sh packages"
  done
}

# archive DIRECTORY TAR-ARGUMENT...: writes a tar archive of the directory that does
# not show who built it, when or where.
archive() {
  tar --create --directory "$1" --sort=name --owner=0 --group=0 --numeric-owner \
    --mode=u+rw,go=rX --mtime="@$SOURCE_DATE_EPOCH" "${@:2}"
}

# pack DIRECTORY FILE TAR-ARGUMENT...: the same, compressed, to a file.
pack() { archive "$1" "${@:3}" | gzip --no-name >"$2"; }
