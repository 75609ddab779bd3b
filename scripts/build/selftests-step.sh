#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# selftests-step.sh ARCH STAMP: builds the KVM selftests (see selftests.sh) for the
# architecture that Linux calls ARCH, in build/linux/selftests for x86, else in
# build/linux/selftests-ARCH; touches STAMP if one is new.  Builds all of them
# again for another compiler or other flags.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"

[ $# = 2 ] || die "usage: selftests-step.sh ARCH STAMP"
ARCH=$1 stamp=$2
case $ARCH in
x86) name=selftests CROSS_COMPILE='' CC=$(cc_command) ;;
arm64) name=selftests-$ARCH CROSS_COMPILE=aarch64-linux-gnu- CC=$(CC=${CROSS_COMPILE}gcc cc_command) ;;
*) die "$ARCH: no such architecture" ;;
esac
out=$build/linux/$name
ccache_for linux
export ARCH CROSS_COMPILE CC

# make does not notice another compiler or other flags.
# shellcheck disable=SC2086 # a command, perhaps with ccache before it
made_by=$({
    cat "$root/scripts/build/selftests.sh"
    echo "${CFLAGS:-} ${LDFLAGS:-} $CC" && $CC --version
} | sha256sum)
if [ "$(cat "$out/.made-by" 2>/dev/null)" != "$made_by" ]; then
    mkdir -p "$out"
    # The kernel's headers do not depend on the compiler.
    find "$out" -type d \( -path "$out/headers" -o -path "$out/tools" \) -prune \
        -o -type f -exec rm {} +
    echo "$made_by" >"$out/.made-by"
fi

watched "$name-build" "KVM $name" \
    sh "$root/scripts/build/selftests.sh" "$build/linux/src" "$out" ||
    die "the KVM selftests do not build"
if [ ! -e "$stamp" ] ||
    [ -n "$(find "$out" -maxdepth 2 -type f -name '*_test' -newer "$stamp")" ]; then
    touch "$stamp"
fi
