#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# linux.sh KERNEL [STAMP]: builds a kernel in build/KERNEL/out; touches STAMP if
# the kernel is new.  KERNEL is one of those below; of linux-series*, only KVM.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"

[ $# -ge 1 ] || die "usage: linux.sh KERNEL [STAMP]"
kernel=$1 stamp=${2:-}

# Its tree, its architecture, and its configuration: parts in testbed/, each on
# top of those before.
arch=x86
case $kernel in
linux) tree=linux parts='linux linux-x86' ;;
linux-stock) tree=linux-stock parts='linux linux-x86' ;;
linux-debug) tree=linux parts='linux linux-x86 linux-debug' ;;
linux-lockstat) tree=linux parts='linux linux-x86 linux-lockstat' ;;
linux-arm64) tree=linux parts='linux linux-arm64' arch=arm64 ;;
linux-series) tree=linux-series parts='linux linux-x86' ;;
linux-series-arm64) tree=linux-series parts='linux linux-arm64' arch=arm64 ;;
*) die "$kernel: no such kernel" ;;
esac

case $arch in
x86) cross='' image=arch/x86/boot/bzImage ;;
arm64) cross=aarch64-linux-gnu- CC=${cross}gcc image=arch/arm64/boot/Image ;;
esac

goal=${image##*/}
[ "$tree" != linux-series ] || goal=arch/$arch/kvm/

src=$build/$tree/src
out=$build/$kernel/out
fragment=$out/.fragment
ccache_for "$tree"
case $kernel in
linux | linux-stock)
    # These two kernels share most of their files, but only once preprocessed:
    # their configurations differ by two options, in a header that all files
    # include.
    unset CCACHE_DEPEND
    ;;
esac

# Without a date, the same source builds the same kernel.
KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 1970'
KBUILD_BUILD_USER=postern
KBUILD_BUILD_HOST=postern
export KBUILD_BUILD_TIMESTAMP KBUILD_BUILD_USER KBUILD_BUILD_HOST

run_make() {
    make -C "$src" O="$out" ARCH="$arch" CROSS_COMPILE="$cross" \
        CC="$(cc_command)" -j"$(jobs)" "$@"
}

# known SYMBOL: does the tree have this option?
known() {
    grep -qrxE --include='Kconfig*' "[[:space:]]*(menu)?config $1[[:space:]]*" "$src"
}

# lost: options of the fragment that did not take effect in .config
lost() {
    sed -n -e 's/^\(CONFIG_[A-Za-z0-9_]*=.*\)/\1/p' \
        -e 's/^# \(CONFIG_[A-Za-z0-9_]* is not set\)$/\1/p' "$fragment" |
        while read -r line; do
            case $line in
            *' is not set')
                # An option whose dependencies are missing is off as well.
                ! grep -q "^${line%% *}=" "$out/.config" || echo "${line%% *}"
                continue
                ;;
            esac
            grep -qxF "$line" "$out/.config" && continue
            symbol=${line%%=*}
            # The stock kernel does not have our options.
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
    # Of linux-series, the next patch may bring an option, or what selects it.
    if [ "$tree" != linux-series ] && [ -f "$out/.config" ] && [ "$(cat "$out/.configured" 2>/dev/null)" = "$sum" ]; then
        return 0
    fi
    mkdir -p "$out"
    wanted_parts >"$fragment"
    logged "$kernel-config" run_make KCONFIG_ALLCONFIG="$fragment" allnoconfig ||
        die "$kernel cannot be configured"
    missing=
    [ "$tree" = linux-series ] || missing=$(lost)
    # shellcheck disable=SC2086 # joins lines to one
    [ -z "$missing" ] || die "testbed/*.config ask for options that did not \
take effect in $kernel (dependencies?):" $missing
    echo "$sum" >"$out/.configured"
}

# count_steps LOG: writes to LOG.total how many steps the first build will have.  make
# knows it once the files are there that all others need.  It does not know of what
# comes after the files that it does not make now, some 20 steps.  A later build is
# short, so there is no file.
count_steps() {
    mkdir -p "$logs"
    rm -f "$1.total"
    [ ! -e "$out/vmlinux" ] && [ "$tree" != linux-series ] || return 0
    # The build itself reports errors.
    run_make prepare >/dev/null 2>&1 </dev/null || return 0
    run_make -n -i -k "$goal" 2>/dev/null </dev/null |
        grep -o "echo '  [A-Z]" | wc -l >"$1.total"
}

configure_linux

# Nobody edits the stock kernel, so make need not check it again.
if [ "$tree" = linux-stock ]; then
    if [ "$(cat "$out/.built" 2>/dev/null)" = "$sum" ] && [ -n "$stamp" ] && [ -e "$stamp" ]; then
        exit 0
    fi
    rm -f "$out/.built"
fi

count_steps "$logs/$kernel-build.log"
watched "$kernel-build" "$kernel" run_make "$goal" || die "$kernel does not build"
if [ -n "$stamp" ] && { [ ! -e "$stamp" ] || [ -n "$(find "$out/$image" -newer "$stamp")" ]; }; then
    touch "$stamp"
fi
[ "$tree" != linux-stock ] || echo "$sum" >"$out/.built"
