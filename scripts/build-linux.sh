#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# build-linux.sh TREE [STAMP]: builds the bzImage of build/TREE/src in
# build/TREE/out; touches STAMP when it came out new.  TREE is linux or
# linux-stock.

set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"

tree=$1 stamp=${2:-}
src=$build/$tree/src
out=$build/$tree/out
image=$out/arch/x86/boot/bzImage
fragment=$root/testbed/linux.config
ccache_for "$tree"

# A date in the kernel would be all that differs from one build to the next.
KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 1970'
KBUILD_BUILD_USER=postern
KBUILD_BUILD_HOST=postern
export KBUILD_BUILD_TIMESTAMP KBUILD_BUILD_USER KBUILD_BUILD_HOST

run_make() {
    make -C "$src" O="$out" CC="$(cc_command)" -j"$(jobs)" "$@"
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

configure_linux() {
    sum=$(sha256sum <"$fragment")
    if [ -f "$out/.config" ] && [ "$(cat "$out/.fragment" 2>/dev/null)" = "$sum" ]; then
        return 0
    fi
    mkdir -p "$out"
    logged "$tree-config" run_make KCONFIG_ALLCONFIG="$fragment" allnoconfig ||
        die "$tree cannot be configured"
    missing=$(lost)
    # shellcheck disable=SC2086 # one a line; here in one line
    [ -z "$missing" ] || die "testbed/linux.config asks for options that did not \
take effect in $tree (dependencies?):" $missing
    echo "$sum" >"$out/.fragment"
}

configure_linux

# Nobody edits the stock kernel, so it need not even be looked at again.
if [ "$tree" = linux-stock ]; then
    if [ "$(cat "$out/.built" 2>/dev/null)" = "$sum" ] && [ -n "$stamp" ] && [ -e "$stamp" ]; then
        exit 0
    fi
    rm -f "$out/.built"
fi

watched "$tree-build" "$tree" run_make bzImage || die "$tree does not build"
if [ -n "$stamp" ] && { [ ! -e "$stamp" ] || [ -n "$(find "$image" -newer "$stamp")" ]; }; then
    touch "$stamp"
fi
[ "$tree" != linux-stock ] || echo "$sum" >"$out/.built"
