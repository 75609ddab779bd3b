#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What deps.sh makes of packages that cannot be installed.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

make_checkout
POSTERN_NEED_ARCHIVE=0
export POSTERN_NEED_ARCHIVE
echo 'exit 1' >"$top/scripts/apt.sh"
deps() {
    (sh "$top/scripts/deps.sh" "$1" 2>&1) || echo "status $?"
}

# with KIND NAME: of which there are two, one of them missing
with() {
    printf '# kind name package\ntool sh dash\n%s %s some-package\n' "$1" "$2" \
        >"$top/scripts/deps.list"
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

done_testing
