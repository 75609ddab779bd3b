#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# host.sh NAME NUMBER ROOT CHECKOUT SHARED: a host of libvirt in L1, as the first process of
# namespaces of its own (lab.sh makes them)
#
# Its root is ROOT with an overlay in memory, in which CHECKOUT and SHARED are at
# their own paths.  It has the network device NAME, which lab.sh brings.  It runs
# virtlogd and libvirtd, starts libvirtd again if it ends, and ends itself when
# /run/end is made there.

set -eu

name=$1 number=$2 from=$3 checkout=$4 shared=$5
self=$(cd "$(dirname "$0")" && pwd)
new=/run/hosts/$name

# L1's number of this process: /proc is still L1's.
read -r pid _ </proc/self/stat
echo "$pid" >"/run/pid-$name"

# Nothing that is mounted here may be seen by the other host.
mount --make-rprivate /
mkdir -p "$new"
mount -t tmpfs -o mode=755 "host-$name" "$new"
mkdir "$new/upper" "$new/work" "$new/root"
mount -t overlay -o "lowerdir=$from,upperdir=$new/upper,workdir=$new/work,xino=off" \
    root "$new/root"
cd "$new/root"

for folder in "$checkout" "$shared"; do
    mkdir -p ".$folder"
    mount --bind "$folder" ".$folder"
done
# libvirt-qemu has to get to the checkout, wherever it is.
folder=$checkout
while [ "$folder" != / ]; do
    folder=$(dirname "$folder")
    chmod a+x ".$folder"
done
# Where QEMU of a Debian 12 build looks for ROMs; Debian 13 has them elsewhere
[ -e usr/lib/ipxe/qemu ] || {
    mkdir -p usr/lib/ipxe
    ln -s ../../share/qemu usr/lib/ipxe/qemu
}
# What QEMU can do takes a minute to find out in L1; one host does it for both.
mkdir -p "$shared/cache"
mount --bind "$shared/cache" var/cache/libvirt
mount --rbind /dev dev
mount -t proc proc proc
mount -t sysfs sys sys
mount -t cgroup2 cgroup sys/fs/cgroup
mount -t tmpfs -o mode=755 run run
mkdir -p run/lock mnt/old
cp "$self/libvirtd.conf" "$self/qemu.conf" etc/libvirt/
printf 'host_uuid = "00000000-0000-4000-8000-00000000000%s"\n' "$number" >>etc/libvirt/libvirtd.conf
printf 'shared_filesystems = [ "%s" ]\n' "$shared" >>etc/libvirt/qemu.conf
printf '127.0.0.1 localhost\n10.9.0.1 a\n10.9.0.2 b\n' >etc/hosts
hostname "$name"
pivot_root . mnt/old
cd /
umount -l /mnt/old
ip link set dev lo up

# Until lab.sh has moved the device here
tries=0
until ip link show dev "$name" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || exit 1
    sleep 0.1
done
ip address add "10.9.0.$number/24" dev "$name"
ip link set dev "$name" up

mkdir -p /run/libvirt
virtlogd --daemon --pid-file /run/virtlogd.pid
while [ ! -e /run/end ]; do
    libvirtd --listen --pid-file /run/libvirtd.pid >>/var/log/libvirtd.out 2>&1 &
    daemon=$!
    wait "$daemon" || echo "libvirtd ended with $?" >>/var/log/libvirtd.out
    rm -f /run/libvirtd.pid
    while [ -e /run/stopped ]; do sleep 0.1; done
done
