#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# shell.sh: opens a shell in L1, with our QEMU first in the path.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"

ninja -C "$build/meson" --quiet qemu.stamp linux.stamp testbed/testbed \
    testbed/initramfs.gz testbed/guest/guest.cpio || die "the build failed"

cd "$root"
PATH=$build/qemu/out:$PATH
export PATH
exec "$build/meson/testbed/testbed" --shell
