#!/bin/bash
# Builds the RPM packages, source and binary, from the work tree, as `make rpm`
# does.
# Usage: packaging/rpm/build.sh OUT        a directory, created if missing
# Prints their paths. The same commit gives the same bytes.
set -euo pipefail
# shellcheck source=packaging/lib.sh
. "$(dirname "$0")/../lib.sh"

need rpmbuild cargo
out=$1
# The source package contains this path, and another path would give other bytes,
# so TMPDIR is ignored here.
work=/tmp/oci-bind-hook-rpmbuild
mkdir "$work" || die "another build is under way, or was killed: then remove $work"
trap 'rm -rf "$work"' EXIT

tarball=$("$ROOT/packaging/tarball.sh" "$work/SOURCES")
mkdir "$work/SPECS"
tar --extract --file "$tarball" --to-stdout --wildcards '*/packaging/rpm/oci-bind-hook.spec' \
  >"$work/SPECS/oci-bind-hook.spec"
# The source package contains the spec's timestamp too, which is only clamped.
touch --date "@$SOURCE_DATE_EPOCH" "$work/SPECS/oci-bind-hook.spec"
say 'building the binary and the RPM packages, which takes minutes'
# --nodeps: Rust may come from rustup instead of a package.
rpmbuild -ba --nodeps --define "_topdir $work" --define '_buildhost localhost' \
  --define 'use_source_date_epoch_as_buildtime 1' --define 'clamp_mtime_to_source_date_epoch 1' \
  "$work/SPECS/oci-bind-hook.spec" >"$work/log" 2>&1 ||
  { tail -n 50 "$work/log" >&2; die 'the build failed'; }
mkdir -p "$out"
find "$work" -name '*.rpm' | while read -r package; do
  cp "$package" "$out/"
  echo "$out/$(basename "$package")"
done
