#!/bin/busybox sh
# shellcheck shell=dash
# The first process of a test machine, from the initramfs: runs /payload/run,
# and hands its status to the host through the third serial port. There is no
# other way out: /dev/port, which QEMU's exit device needs, is not compiled in.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
bb=/bin/busybox

if [ ! -e /moved ]; then
  $bb --install -s /bin
  mkdir -p /dev /proc /sys /run /new
  mount -t devtmpfs dev /dev
  mount -t proc proc /proc
  mount -t sysfs sys /sys
  for module in /modules/*.ko; do
    insmod "$module" || echo "insmod $module failed" >/dev/kmsg
  done
  # No real system stays in the initramfs, where / is a mount like no other.
  mount -t tmpfs root /new
  cp -a /bin /etc /init /lib /lib64 /payload /root /usr /new/
  mkdir -p /new/dev /new/proc /new/sys /new/run /new/tmp
  : >/new/moved
  for directory in dev proc sys; do mount --move /$directory /new/$directory; done
  exec $bb switch_root /new /init
fi

mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
ip link set lo up
stty -F /dev/ttyS1 raw -echo
cd /payload || exit
setsid ./run </dev/null >/dev/ttyS1 2>&1
echo $? >/dev/ttyS2
poweroff -f
