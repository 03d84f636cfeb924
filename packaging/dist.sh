#!/bin/bash
# Builds all files of a release, as `make dist` does: the source with its crates,
# the packages, the image for Kubernetes with its manifests, the eBPF object, the
# bills of materials, and the checksums of all of these.
# Usage: packaging/dist.sh OUT             a directory, created if missing
# `sha256sum --check SHA256SUMS` in OUT checks them without a network. The same
# commit gives the same bytes.
set -euo pipefail
# shellcheck source=packaging/lib.sh
. "$(dirname "$0")/lib.sh"

need tar gzip sha256sum
out=$1
[ ! -e "$out" ] || [ -z "$(ls -A "$out")" ] || die "$out has something in it: remove it, or name another"
"$ROOT/packaging/tarball.sh" "$out"
"$ROOT/packaging/sbom.sh" "$out"
"$ROOT/packaging/deb/build.sh" "$out"
"$ROOT/packaging/rpm/build.sh" "$out"
"$ROOT/packaging/kubernetes/image.sh" "$out"

say 'adding the manifests, the eBPF object and the checksums'
manifests=oci-bind-hook-kubernetes-$(version)
pack "$ROOT/packaging/kubernetes" "$out/$manifests.tar.gz" --transform "s|^|$manifests/|" \
  base containerd remove example
echo "$out/$manifests.tar.gz"

object=oci-bind-hook-$(version).bpf.o
cp "$ROOT/ebpf/oci-bind-hook.bpf.o" "$out/$object"
echo "$out/$object"

(cd "$out" && sha256sum -- * >SHA256SUMS)
echo "$out/SHA256SUMS"
