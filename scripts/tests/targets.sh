#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Which target lists configure takes, and what the scripts make of them.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

make_checkout
cp "$scripts/../configure" "$top/"
# It is to end there.
echo 'exit 1' >"$top/scripts/deps.sh"
configure() {
    (sh "$top/configure" "$@" 2>&1) || echo "status $?"
}

# targets: the list, and which of them the scripts see
targets() {
    (
        root=$top
        # shellcheck source=scripts/common.sh
        . "$top/scripts/common.sh"
        target_list
        for arch in x86_64 aarch64 x86; do
            ! has_target "$arch" || echo "$arch"
        done
    ) | tr '\n' ' '
}

both='x86_64-softmmu,aarch64-softmmu x86_64 aarch64 '
is "without configure it is both" "$(targets)" "$both"
for list in aarch64-softmmu x86_64-softmmu,arm-softmmu x86_64 ''; do
    said=$(configure "--target-list=$list")
    matches "'$list' is an error" "$said" "^configure: --target-list=$list: "
done
is "and is not kept" "$(ls "$top/build")" qemu
configure --target-list=x86_64-softmmu >/dev/null
is "one" "$(targets)" "x86_64-softmmu x86_64 "
configure --target-list=aarch64-softmmu,x86_64-softmmu >/dev/null
is "both, in the other order" "$(targets)" "$both"
configure --target-list=x86_64-softmmu >/dev/null
configure >/dev/null
is "both by default" "$(targets)" "$both"
touch -d '2000-01-01' "$top/build/target-list"
configure >/dev/null
is "the same again leaves the file alone" "$(date -r "$top/build/target-list" +%Y)" 2000

done_testing
