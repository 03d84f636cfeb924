# shellcheck shell=bash
# vendor CRATES NAMED CONFIG [OPTION...]: puts every crate of Cargo.lock into the
# directory CRATES, and writes the configuration CONFIG, which makes cargo take them
# from there, under the path NAMED. In its own file because it needs no git.
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
