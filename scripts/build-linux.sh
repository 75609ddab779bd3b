#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# build-linux.sh KERNEL [STAMP]: builds a kernel in build/KERNEL/out; touches
# STAMP when it came out new.  KERNEL is one of those below.

set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"

[ $# -ge 1 ] || die "usage: build-linux.sh KERNEL [STAMP]"
kernel=$1 stamp=${2:-}

# The tree that it is built from, its architecture, and its configuration: parts
# of testbed/, each on top of those before.
arch=x86
case $kernel in
linux) tree=linux parts='linux linux-x86' ;;
linux-stock) tree=linux-stock parts='linux linux-x86' ;;
linux-debug) tree=linux parts='linux linux-x86 linux-debug' ;;
linux-lockstat) tree=linux parts='linux linux-x86 linux-lockstat' ;;
linux-arm64) tree=linux parts='linux linux-arm64' arch=arm64 ;;
*) die "$kernel: no such kernel" ;;
esac

case $arch in
x86) cross='' image=arch/x86/boot/bzImage ;;
arm64) cross=aarch64-linux-gnu- CC=${cross}gcc image=arch/arm64/boot/Image ;;
esac

src=$build/$tree/src
out=$build/$kernel/out
fragment=$out/.fragment
ccache_for "$tree"
case $kernel in
linux | linux-stock)
    # Their configurations differ by two options, in a header that all files
    # include.  After preprocessing, most files are the same.
    unset CCACHE_DEPEND
    ;;
esac

# A date in the kernel would be all that differs from one build to the next.
KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 1970'
KBUILD_BUILD_USER=postern
KBUILD_BUILD_HOST=postern
export KBUILD_BUILD_TIMESTAMP KBUILD_BUILD_USER KBUILD_BUILD_HOST

run_make() {
    make -C "$src" O="$out" ARCH="$arch" CROSS_COMPILE="$cross" \
        CC="$(cc_command)" -j"$(jobs)" "$@"
}

# known SYMBOL: does the tree have such an option at all?
known() {
    grep -qrxE --include='Kconfig*' "[[:space:]]*(menu)?config $1[[:space:]]*" "$src"
}

# lost: the options of the fragment that .config does not have
lost() {
    sed -n -e 's/^\(CONFIG_[A-Za-z0-9_]*=.*\)/\1/p' \
        -e 's/^# \(CONFIG_[A-Za-z0-9_]* is not set\)$/\1/p' "$fragment" |
        while read -r line; do
            case $line in
            *' is not set')
                # An option that cannot even be chosen is off as well.
                ! grep -q "^${line%% *}=" "$out/.config" || echo "${line%% *}"
                continue
                ;;
            esac
            grep -qxF "$line" "$out/.config" && continue
            symbol=${line%%=*}
            # The stock kernel lacks what our files add.
            [ "$tree" = linux ] || known "${symbol#CONFIG_}" || continue
            echo "$symbol"
        done
}

wanted_parts() {
    for part in $parts; do
        cat "$root/testbed/$part.config"
    done
}

configure_linux() {
    sum=$(wanted_parts | sha256sum)
    if [ -f "$out/.config" ] && [ "$(cat "$out/.configured" 2>/dev/null)" = "$sum" ]; then
        return 0
    fi
    mkdir -p "$out"
    wanted_parts >"$fragment"
    logged "$kernel-config" run_make KCONFIG_ALLCONFIG="$fragment" allnoconfig ||
        die "$kernel cannot be configured"
    missing=$(lost)
    # shellcheck disable=SC2086 # one a line; here in one line
    [ -z "$missing" ] || die "testbed/*.config ask for options that did not \
take effect in $kernel (dependencies?):" $missing
    echo "$sum" >"$out/.configured"
}

configure_linux

# Nobody edits the stock kernel, so it need not even be looked at again.
if [ "$tree" = linux-stock ]; then
    if [ "$(cat "$out/.built" 2>/dev/null)" = "$sum" ] && [ -n "$stamp" ] && [ -e "$stamp" ]; then
        exit 0
    fi
    rm -f "$out/.built"
fi

watched "$kernel-build" "$kernel" run_make "${image##*/}" || die "$kernel does not build"
if [ -n "$stamp" ] && { [ ! -e "$stamp" ] || [ -n "$(find "$out/$image" -newer "$stamp")" ]; }; then
    touch "$stamp"
fi
[ "$tree" != linux-stock ] || echo "$sum" >"$out/.built"
