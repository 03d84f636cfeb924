# shellcheck shell=bash
# vendor CRATES NAMED CONFIG [OPTION...]: puts every crate of Cargo.lock into the
# directory CRATES, and has cargo take them from there, under the path NAMED, by
# the configuration CONFIG. In a file of its own, since it does without git.
vendor() {
  local crates=$1 named=$2 config=$3
  shift 3
  cargo vendor --quiet --locked --versioned-dirs "$@" "$crates" >/dev/null
  cat >"$config" <<END
[source.crates-io]
replace-with = "vendored"
[source.vendored]
directory = "$named"
END
}
