#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests what deps.sh makes of packages that cannot be installed.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

make_checkout
POSTERN_NEED_ARCHIVE=0
export POSTERN_NEED_ARCHIVE
echo 'exit 1' >"$top/scripts/setup/apt.sh"
echo x86_64-softmmu >"$top/build/target-list"
echo 'tool no-such-cross-tool cross-package' >"$top/scripts/setup/deps-aarch64.list"
deps() {
    (sh "$top/scripts/setup/deps.sh" "$1" 2>&1) || echo "status $?"
}

# with KIND NAME: lets deps.list have sh, which exists, and NAME
with() {
    printf '# kind name package\ntool sh dash\n%s %s some-package\n' "$1" "$2" \
        >"$top/scripts/setup/deps.list"
}

with tool sh
is "nothing is missing" "$(deps check)$(deps install)" ""

with nice no-such-tool
is "what is nice to have need not be there" "$(deps check)" ""
said=$(deps install)
matches "nor be installed" "$said" '^warning: going on without some-package: '
is "and that is no failure" "$(printf '%s\n' "$said" | grep -c ^status)" 0

with tool no-such-tool
matches "what is needed is named" "$(deps check)" '^ *no-such-tool +some-package$'
said=$(deps install)
matches "when it cannot be installed as well" "$said" '^ *no-such-tool +some-package$'
matches "which is a failure" "$said" '^status 1$'

with tool sh
is "what aarch64 needs need not be there without it" "$(deps check)" ""
echo x86_64-softmmu,aarch64-softmmu >"$top/build/target-list"
said=$(deps check)
matches "with it it is named" "$said" '^ *no-such-cross-tool +cross-package$'
matches "and is a failure" "$said" '^status 1$'
matches "with a way to do without" "$said" \
    '^cross-package: for aarch64 only; ./configure --target-list=x86_64-softmmu '
matches "which it says when it cannot be installed, too" "$(deps install)" \
    '^cross-package: for aarch64 only; ./configure --target-list=x86_64-softmmu '

with tool no-such-tool
echo '# kind name package' >"$top/scripts/setup/deps-aarch64.list"
is "but not of what is needed anyway" "$(deps check | grep -c -e --target-list)" 0

with tool sh
echo 'tool no-such-apt apt' >"$top/scripts/setup/deps-archive.list"
is "the archive is not needed for nothing" "$(deps check)" ""
POSTERN_NEED_ARCHIVE=busybox
said=$(deps check)
matches "for a busybox it is" "$said" '^ *no-such-apt +apt$'
matches "of which one can be named, or left out" "$said" \
    '^apt: .* --aarch64-busybox=FILE .*--target-list=x86_64-softmmu '
POSTERN_NEED_ARCHIVE=1
said=$(deps check)
matches "as for the sources" "$said" '^ *no-such-apt +apt$'
is "which cannot be left out" "$(printf '%s\n' "$said" | grep -c -e --target-list)" 0

done_testing
