#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# check.sh [CASE]...: tests our QEMU and KVM under Debian 13's libvirt, which is in a root
# file system that is made once: see cases.sh.  Needs root.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"
# shellcheck source=scripts/run/arch.sh
. "$root/scripts/run/arch.sh"

dir=$build/roots/libvirt-trixie
# libvirt, the libraries and the firmware of our QEMU, and what cases.sh uses there
packages='libvirt-daemon-system libvirt-clients libslirp0 libfdt1 libgnutls30t64 seabios
    qemu-system-data ipxe-qemu iproute2 procps'

in_root() {
    chroot "$dir" env DEBIAN_FRONTEND=noninteractive "$@"
}

# TAP goes to the standard output; nothing else may.
exec 3>&1 >&2
build_what_runs
"$root/scripts/packages/root.sh" trixie "$dir"
if [ ! -e "$dir/srv/libvirt-installed" ]; then
    logged libvirt-apt in_root apt-get -y -q update || die "no package lists"
    # shellcheck disable=SC2086 # several
    logged libvirt-apt in_root apt-get -y -q install --no-install-recommends $packages ||
        die "libvirt cannot be installed"
    touch "$dir/srv/libvirt-installed"
fi

exec "$build/meson/testbed/testbed" --memory=3072 --timeout=3600 --log="$logs/libvirt-l1.log" -- \
    "$root/scripts/libvirt/cases.sh" "$dir" "$programs/qemu-system-x86_64" "$kernel" \
    "$build/meson/$guest" "$@" >&3
