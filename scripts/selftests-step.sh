#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# selftests-step.sh STAMP: builds the KVM selftests in build/linux/selftests
# (see build-selftests.sh); touches STAMP when one came out new.

set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"

stamp=$1
out=$build/linux/selftests
ccache_for linux
CC=$(cc_command)
export CC

watched selftests-build "KVM selftests" \
    sh "$root/scripts/build-selftests.sh" "$build/linux/src" "$out" ||
    die "the KVM selftests do not build"
if [ ! -e "$stamp" ] ||
    [ -n "$(find "$out" -maxdepth 2 -type f -name '*_test' -newer "$stamp")" ]; then
    touch "$stamp"
fi
