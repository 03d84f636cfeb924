#!/bin/bash
# `make install` and `make uninstall`, into a directory of their own.
set -euo pipefail
# shellcheck source=tests/runner.sh
. "$(dirname "$0")/runner.sh"
only=("$@")

cd "$(dirname "$0")/.."
ROOT=$(mktemp -d)
trap 'rm -rf "$ROOT"' EXIT

after_each() { rm -rf "${ROOT:?}"/*; }

quiet_make() { make --silent "$@" DESTDIR="$ROOT"; }

files() { (cd "$ROOT" && find . ! -type d -printf '%P %m\n' | LC_ALL=C sort); }

# The binary that the installed hooks.d file names.
named_binary() {
  sed -n 's/.*"path": "\(.*\)".*/\1/p' "$ROOT$1/share/containers/oci/hooks.d/oci-bind-hook.json"
}

puts_files_in_place() {
  quiet_make install
  is files "$(files)" "etc/oci-bind-hook/config.toml 644
usr/lib/systemd/system/oci-bind-hook.service 644
usr/lib/udev/rules.d/80-oci-bind-hook.rules 644
usr/libexec/oci/hooks.d/oci-bind-hook 755
usr/sbin/oci-bind-hook 777
usr/share/bash-completion/completions/oci-bind-hook 644
usr/share/containers/oci/hooks.d/oci-bind-hook.json 644
usr/share/doc/oci-bind-hook/README.md 644
usr/share/doc/oci-bind-hook/docs/CALLS.md 644
usr/share/doc/oci-bind-hook/docs/ENGINES.md 644
usr/share/doc/oci-bind-hook/docs/EXAMPLES.md 644
usr/share/doc/oci-bind-hook/docs/KUBERNETES.md 644
usr/share/doc/oci-bind-hook/docs/MESSAGES.md 644
usr/share/doc/oci-bind-hook/docs/PERFORMANCE.md 644
usr/share/doc/oci-bind-hook/docs/SYSTEMD.md 644
usr/share/doc/oci-bind-hook/docs/THREAT-MODEL.md 644
usr/share/doc/oci-bind-hook/docs/demo.svg 644
usr/share/doc/oci-bind-hook/docs/examples/compose.yaml 644
usr/share/doc/oci-bind-hook/docs/examples/web.container 644
usr/share/doc/oci-bind-hook/examples/all-containers.json 644
usr/share/doc/oci-bind-hook/examples/kubernetes-pod.yaml 644
usr/share/doc/oci-bind-hook/examples/oci-bind-hook.cdi.json 644
usr/share/doc/oci-bind-hook/tests/SEMANTICS.md 644
usr/share/fish/vendor_completions.d/oci-bind-hook.fish 644
usr/share/man/man8/oci-bind-hook-attach.8 644
usr/share/man/man8/oci-bind-hook-cdi.8 644
usr/share/man/man8/oci-bind-hook-check.8 644
usr/share/man/man8/oci-bind-hook-create-runtime.8 644
usr/share/man/man8/oci-bind-hook-detach.8 644
usr/share/man/man8/oci-bind-hook-load.8 644
usr/share/man/man8/oci-bind-hook-run.8 644
usr/share/man/man8/oci-bind-hook-status.8 644
usr/share/man/man8/oci-bind-hook-unload.8 644
usr/share/man/man8/oci-bind-hook.8 644
usr/share/zsh/site-functions/_oci-bind-hook 644"
  is 'the hooks.d file' "$(cat "$ROOT/usr/share/containers/oci/hooks.d/oci-bind-hook.json")" \
    "$(cat config/oci-bind-hook.json)"
  is 'the link' "$(realpath "$ROOT/usr/sbin/oci-bind-hook")" \
    "$ROOT/usr/libexec/oci/hooks.d/oci-bind-hook"
  "$ROOT/usr/sbin/oci-bind-hook" --version
  cdi_example /usr
}

# What is installed as an example is what the program prints of itself.
cdi_example() {
  quiet_make install PREFIX="$1"
  is 'the CDI example' "$(cat "$ROOT$1/share/doc/oci-bind-hook/examples/oci-bind-hook.cdi.json")" \
    "$("$ROOT$1/libexec/oci/hooks.d/oci-bind-hook" cdi | sed "s|$ROOT||")"
}

# Each that the manual names.
has_the_documents() {
  local document documents
  quiet_make install
  documents=$(sed 's/\\f[A-Z]//g; s/\\-/-/g' "$ROOT/usr/share/man/man8/oci-bind-hook.8" | grep -o '[A-Z-]*\.md')
  mentions "$documents" README.md
  for document in $documents; do
    is "$document" "$(cd "$ROOT/usr/share/doc/oci-bind-hook" && find . -name "$document" | wc -l)" 1
  done
}

# The dynamic linker would take longer than the hook.
needs_no_library() {
  quiet_make install
  is 'the libraries' "$(readelf --dynamic "$ROOT/usr/libexec/oci/hooks.d/oci-bind-hook" | grep NEEDED)" ''
}

honours_prefix() {
  local prefix=/opt/hook
  cdi_example $prefix
  has_line "$(cat "$ROOT$prefix/lib/systemd/system/oci-bind-hook.service")" \
    "ExecStart=$prefix/libexec/oci/hooks.d/oci-bind-hook load"
  mentions "$(cat "$ROOT$prefix/lib/udev/rules.d/80-oci-bind-hook.rules")" \
    "RUN+=\"$prefix/libexec/oci/hooks.d/oci-bind-hook load "
  is 'the binary named' "$(named_binary $prefix)" $prefix/libexec/oci/hooks.d/oci-bind-hook
  [ -x "$ROOT$(named_binary $prefix)" ] || fail "the hooks.d file names a binary that is not there"
  [ ! -e "$ROOT/usr" ] || fail "something is in /usr: $(files)"
}

keeps_the_configuration() {
  quiet_make install
  echo '# changed' >>"$ROOT/etc/oci-bind-hook/config.toml"
  quiet_make install
  has_line "$(cat "$ROOT/etc/oci-bind-hook/config.toml")" '# changed'
  quiet_make uninstall
  is files "$(files)" 'etc/oci-bind-hook/config.toml 644'
}

uninstall_leaves_nothing() {
  quiet_make install
  quiet_make uninstall
  is files "$(files)" ''
  [ ! -e "$ROOT/etc/oci-bind-hook" ] || fail "/etc/oci-bind-hook is left"
  quiet_make uninstall # once more, with nothing there
}

# A hooks.d file without its binary would be ignored: a container without policy.
no_hooks_file_without_binary() {
  local output
  if output=$(quiet_make install CARGO_TARGET_DIR="$ROOT/nothing" 2>&1); then
    fail "it installed without a binary"
  fi
  mentions "$output" 'run make first'
  is files "$(files)" ''
}

t 'install: puts the files in place' puts_files_in_place
t 'install: has the documents that the manual names' has_the_documents
t 'install: needs no library' needs_no_library
t 'install: honours PREFIX' honours_prefix
t 'install: keeps a changed configuration' keeps_the_configuration
t 'install: refuses to without the binary' no_hooks_file_without_binary
t 'uninstall: leaves nothing' uninstall_leaves_nothing
counts
