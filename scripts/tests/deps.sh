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
is "nice to have: not needed" "$(deps check)" ""
said=$(deps install)
matches "nice to have: a warning if it cannot be installed" "$said" '^warning: going on without some-package: '
is "nice to have: no failure if it cannot be installed" "$(printf '%s\n' "$said" | grep -c ^status)" 0

with tool no-such-tool
matches "needed: named by check" "$(deps check)" '^ *no-such-tool +some-package$'
said=$(deps install)
matches "needed: named if it cannot be installed" "$said" '^ *no-such-tool +some-package$'
matches "needed: a failure if it cannot be installed" "$said" '^status 1$'

with tool sh
is "aarch64's packages are not needed without aarch64" "$(deps check)" ""
echo x86_64-softmmu,aarch64-softmmu >"$top/build/target-list"
said=$(deps check)
matches "aarch64's packages are named with aarch64" "$said" '^ *no-such-cross-tool +cross-package$'
matches "aarch64's packages missing: a failure" "$said" '^status 1$'
matches "aarch64's packages missing: check names the alternative" "$said" \
    '^cross-package: for aarch64 only; ./configure --target-list=x86_64-softmmu '
matches "aarch64's packages missing: install names the alternative" "$(deps install)" \
    '^cross-package: for aarch64 only; ./configure --target-list=x86_64-softmmu '

with tool no-such-tool
echo '# kind name package' >"$top/scripts/setup/deps-aarch64.list"
is "there is no alternative for packages that are needed anyway" "$(deps check | grep -c -e --target-list)" 0

with tool sh
echo 'tool no-such-apt apt' >"$top/scripts/setup/deps-archive.list"
is "the archive's packages are not needed if nothing is fetched" "$(deps check)" ""
POSTERN_NEED_ARCHIVE=busybox
said=$(deps check)
matches "the archive's packages are needed for a busybox" "$said" '^ *no-such-apt +apt$'
matches "a busybox can be named, or left out" "$said" \
    '^apt: .* --aarch64-busybox=FILE .*--target-list=x86_64-softmmu '
POSTERN_NEED_ARCHIVE=1
said=$(deps check)
matches "the archive's packages are needed for the sources" "$said" '^ *no-such-apt +apt$'
is "the sources cannot be left out" "$(printf '%s\n' "$said" | grep -c -e --target-list)" 0

echo 'tool no-such-other-tool other-package' >"$top/scripts/setup/deps-other.list"
POSTERN_NEED_ARCHIVE=0
is "another list is not asked for" "$(deps check)" ""
POSTERN_ALSO=other
export POSTERN_ALSO
matches "another list is asked for" "$(deps check)" '^ *no-such-other-tool +other-package$'

done_testing
