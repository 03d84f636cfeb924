#!/bin/bash
# Makes the source that packages are built from, without a network: the files
# that git tracks, as they are in the work tree, and every crate of Cargo.lock.
# Usage: packaging/source.sh DIRECTORY     a new one
set -euo pipefail
cd "$(dirname "$0")/.."

directory=$1
mkdir "$directory"
git ls-files -z --cached | tar --create --null --files-from=- | tar --extract --directory "$directory"
mkdir "$directory/.cargo"
cargo vendor --quiet --locked --versioned-dirs "$directory/vendor" >/dev/null
cat >"$directory/.cargo/config.toml" <<END
[source.crates-io]
replace-with = "vendored"
[source.vendored]
directory = "vendor"
END
