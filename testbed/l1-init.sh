#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=dash
#
# /init of the initramfs: makes L1's root from the build machine's, so every
# program and library of that machine is there. That root is mounted read-only
# with a tmpfs over it: L1 may write anywhere, and the build machine never
# notices. busybox's shell runs its own applets here, whatever $PATH says.
#
# If PID 1 ends, the kernel panics, which the harness reports: so -e is enough.
set -e

# The shell runs its applets through /proc/self/exe.
mkdir -p /proc /dev /lower /rw /new
/bin/busybox mount -t proc proc /proc
mount -t devtmpfs dev /dev
exec >/dev/console 2>&1

# A kernel of a distribution needs modules: NUMBER-NAME.ko.  insmod does not look
# for their parameters on the kernel's command line.
for module in /modules/*.ko; do
    [ -e "$module" ] || continue
    name=${module##*/}
    name=$(echo "${name#*-}" | tr - _)
    set --
    read -r words </proc/cmdline
    for word in $words; do
        case $word in
        "${name%.ko}".*) set -- "$@" "${word#*.}" ;;
        esac
    done
    insmod "$module" "$@"
done

# The build machine's files do not change during a run: cache them for good.
mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=512000 \
    root /lower
mount -t tmpfs -o size=75% rw /rw
mkdir /rw/upper /rw/work
mount -t overlay -o \
    lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work,xino=off root /new

mount --move /dev /new/dev
mount -t proc proc /new/proc
mount -t sysfs sys /new/sys
mount -t debugfs debug /new/sys/kernel/debug
mount -t tracefs trace /new/sys/kernel/tracing
mount -t cgroup2 cgroup /new/sys/fs/cgroup
mount -t tmpfs -o mode=755 run /new/run
mkdir -p /new/dev/pts /new/dev/shm /new/dev/hugepages /new/run/lock
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /new/dev/pts
mount -t tmpfs -o mode=1777 shm /new/dev/shm
mount -t hugetlbfs huge /new/dev/hugepages
ln -s /proc/self/fd /new/dev/fd
ln -s /proc/self/fd/0 /new/dev/stdin
ln -s /proc/self/fd/1 /new/dev/stdout
ln -s /proc/self/fd/2 /new/dev/stderr
chmod 666 /new/dev/kvm /new/dev/userfaultfd || :

# The folder in which the harness and L1 exchange files; writes are not cached.
mkdir /new/run/postern /new/run/postern-l1
mount -t 9p -o trans=virtio,version=9p2000.L,cache=none,msize=512000 \
    exchange /new/run/postern

hostname l1
ip link set lo up
echo 1 >/new/proc/sys/vm/overcommit_memory

cp /bin/busybox /l1-run.sh /new/run/postern-l1/
exec switch_root /new /run/postern-l1/busybox sh /run/postern-l1/l1-run.sh
