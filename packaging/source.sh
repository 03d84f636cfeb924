#!/bin/bash
# Creates the source tree that packages are built from without a network: the files
# that git tracks, as they are in the work tree, and every crate of Cargo.lock.
# Usage: packaging/source.sh DIRECTORY     a new directory
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=packaging/vendor.sh
. packaging/vendor.sh

directory=$1
mkdir "$directory"
git ls-files -z --cached | tar --create --null --files-from=- | tar --extract --directory "$directory"
mkdir "$directory/.cargo"
vendor "$directory/vendor" vendor "$directory/.cargo/config.toml"
