#!/bin/bash
# Fetches what looks at the manifests for Kubernetes: kubectl, from Debian's
# package, and kubernetes-validate, which brings the API's schemas, from PyPI.
# Prints the directory with both, in the cache.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../vm/lib.sh"

SUITE=trixie
VALIDATE=1.37.0
TOOLS=$CACHE/kubernetes-$VALIDATE

fetch_kubectl() {
  local work=$TOOLS/new
  update_lists
  rm -rf "$work" && mkdir -p "$work"
  (cd "$work" && own_apt apt-get -q download "kubectl/$SUITE" >&2)
  dpkg-deb --extract "$work"/kubectl_*.deb "$work"
  mv "$work/usr/bin/kubectl" "$TOOLS/kubectl"
  rm -rf "$work"
}

# Not installed: the machine keeps its own, or none.
if [ ! -x "$TOOLS/kubectl" ]; then
  say "fetching Debian $SUITE's kubectl"
  fetch_kubectl
fi
if [ ! -x "$TOOLS/python/bin/kubernetes-validate" ]; then
  say "fetching kubernetes-validate $VALIDATE"
  python3 -m venv "$TOOLS/python"
  "$TOOLS/python/bin/pip" install --quiet --disable-pip-version-check "kubernetes-validate==$VALIDATE" >&2
fi
echo "$TOOLS"
