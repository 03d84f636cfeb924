#!/bin/busybox sh
# shellcheck shell=dash
# The first process of a machine that has an image, from the initramfs: puts
# the disk over the image, adds what the payload has, and hands over to systemd.
# The disk outlives the machine, so a second boot finds what the first one left.
bb=/bin/busybox
$bb --install -s /bin
mkdir -p /dev /proc /sys /run /image /disk /new
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs -o mode=755 run /run
for module in /modules/*.ko; do
  insmod "$module" || echo "insmod $module failed" >/dev/kmsg
done
mount -t squashfs -o ro /dev/vda /image
mount -t ext4 /dev/vdb /disk
mkdir -p /disk/upper /disk/work
mount -t overlay -o lowerdir=/image,upperdir=/disk/upper,workdir=/disk/work root /new
# The engines stack overlays of their own, which cannot lie on one.
for engine in containers docker containerd; do
  mkdir -p /disk/$engine /new/var/lib/$engine
  mount --bind /disk/$engine /new/var/lib/$engine
done
mkdir -p /new/image /new/payload
mount --bind /image /new/image
cp -a /payload/files/. /new/
cp -a /payload/. /new/payload/
for directory in dev proc sys run; do mount --move /$directory /new/$directory; done
exec $bb switch_root /new /lib/systemd/systemd
