#!/bin/bash
# Boots a kernel in a virtual machine and runs a program in it.
# Usage: tests/vm/boot.sh KERNEL PAYLOAD OUT SECONDS [IMAGE DISK]
#   KERNEL   a directory made by fetch.sh
#   PAYLOAD  a directory that shows as /payload; /payload/run is run
#   OUT      a directory for `output` of the run and `console` of the kernel
#   IMAGE    of image.sh: its systemd is booted; otherwise busybox is all there is
#   DISK     a file with ext4, which keeps what the system writes
# Ends with the status of the run; 124 when the time is up, 125 when the
# machine ended without one. Both show the end of the console.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

# What the tests need of what Debian does not compile in.
MODULES='veth vrf bridge 8021q macvlan vxlan sit ip6_tunnel tun sch_ingress cls_bpf sctp nf_tables nft_chain_nat nft_nat nft_masq esp4 esp6 xfrm_user authenc crypto_null tcp_diag udp_diag'
# And to boot an image; the last ones are criu's.
IMAGE_MODULES='virtio_pci virtio_blk squashfs ext4 overlay fuse tun bridge
  nf_tables unix_diag raw_diag af_packet_diag netlink_diag'

kernel=$1 payload=$2 out=$3 patience=$4 image=${5:-} disk=${6:-}
init=init drives=()
if [ -n "$image" ]; then
  init=system-init MODULES="$MODULES $IMAGE_MODULES"
  for drive in "image,file=$image,readonly=on" "disk,file=$disk,cache=unsafe"; do
    drives+=(-drive "id=$drive,if=none,format=raw" -device "virtio-blk-pci,drive=${drive%%,*}")
  done
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
rm -f "$out"/{output,console,status}

# modprobe names a module after those that it needs. Decompressed, as busybox
# cannot.
add_modules() {
  local file number=100 release=${kernel##*/} module
  mkdir "$1/modules"
  for module in $MODULES; do
    modprobe --dirname "$kernel" --set-version "$release" --show-depends "$module"
  done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' | while read -r file; do
    number=$((number + 1))
    case $file in
      *.xz) xz --decompress --stdout "$file" ;;
      *.zst) zstd --quiet --decompress --stdout "$file" ;;
      *) cat "$file" ;;
    esac >"$1/modules/$number-$(basename "${file%.ko*}").ko"
  done
}

# A program of this machine and the libraries that it needs.
add_program() {
  mkdir -p "$1$(dirname "$2")"
  cp --dereference "$2" "$1$2"
  add_libraries "$@"
}

make_initramfs() {
  local root=$work/root
  mkdir -p "$root"/{bin,etc,lib,lib64,root,usr}
  cp "$(command -v busybox)" "$root/bin/busybox"
  cp "$VM/guest/$init.sh" "$root/init"
  chmod 755 "$root/init"
  echo '127.0.0.1 localhost' >"$root/etc/hosts"
  # Without it a name of two lines has one address.
  echo 'multi on' >"$root/etc/host.conf"
  add_modules "$root"
  # Busybox has an `ip`, which lacks half of the options.
  add_program "$root" "$(command -v ip)"
  add_program "$root" "$(command -v nft)"
  mkdir "$root/payload"
  cp -a "$payload/." "$root/payload/"
  (cd "$root" && find . -print0 | cpio --null --create --format=newc --owner=0:0 --quiet) >"$work/initramfs"
}

# One processor, in one thread of QEMU: with more, the kernel died now and then
# of patching its own text, which attaching programs makes it do.
run_machine() {
  timeout --foreground "$patience" qemu-system-x86_64 \
    -machine q35 -accel tcg,thread=single -cpu max -smp 1 -m 2048 \
    -nodefaults -no-user-config -display none -no-reboot \
    -serial "file:$out/console" -serial "file:$out/output" -serial "file:$out/status" "${drives[@]}" \
    -kernel "$kernel/vmlinuz" -initrd "$work/initramfs" \
    -append 'console=ttyS0 loglevel=4 panic=-1 mitigations=off' </dev/null
}

end_without_status() {
  say "$2"
  tail -n 20 "$out/console" | sed 's/^/  console | /' >&2
  exit "$1"
}

make_initramfs
ended=0
run_machine || ended=$?
[ "$ended" != 124 ] || end_without_status 124 "${kernel##*/}: not done after $patience s"
status=$(tr -dc 0-9 <"$out/status")
[ -n "$status" ] || end_without_status 125 "${kernel##*/}: ended without a status (QEMU: $ended)"
exit "$status"
