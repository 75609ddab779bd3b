#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests when selftests-step.sh builds the selftests again.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

make_checkout
out=$top/build/linux/selftests
stamp=$work/stamp
mkdir "$work/bin"
PATH=$work/bin:$PATH CC=some-cc
export PATH CC
printf '#!/bin/sh\nexec "$@"\n' >"$work/bin/ccache"
# compiler VERSION
compiler() {
    printf '#!/bin/sh\necho "%s"\n' "$1" >"$work/bin/some-cc"
}
compiler 1.0
chmod +x "$work/bin/ccache" "$work/bin/some-cc"

# Like make, it makes files that are missing.
cat >"$top/scripts/build/selftests.sh" <<'END'
mkdir -p "$2/lib" "$2/headers/usr" "$2/tools"
for file in a_test lib/a.o headers/usr/a.h tools/a.h; do
    [ -e "$2/$file" ] || { echo made >"$2/$file" && echo "$file" >>"$WORK/made"; }
done
[ ! -e "$WORK/broken" ]
END
WORK=$work
export WORK

# made: the files that are made, and whether the stamp is touched
made() {
    : >"$work/made"
    touch -d '2000-01-01' "$stamp"
    sh "$top/scripts/build/selftests-step.sh" x86 "$stamp" >/dev/null 2>&1 || echo "status $?"
    tr '\n' ' ' <"$work/made"
    [ "$(date -r "$stamp" +%Y)" = 2000 ] || echo touched
}

# again: as made(), with a stamp that is newer than all files
again() {
    find "$out" -exec touch -d '1999-01-01' {} +
    made
}

is "everything is built at first" "$(made)" "a_test lib/a.o headers/usr/a.h tools/a.h touched"
is "nothing is built again" "$(again)" ""
compiler 1.1
is "another compiler: all but headers is built" "$(again)" "a_test lib/a.o touched"
is "another compiler: only once" "$(again)" ""
CFLAGS=-O0
export CFLAGS
is "other flags: all but headers is built" "$(again)" "a_test lib/a.o touched"
echo '# edited' >>"$top/scripts/build/selftests.sh"
is "another script: all but headers is built" "$(again)" "a_test lib/a.o touched"
is "another script: only once" "$(again)" ""
rm "$out/a_test"
touch "$work/broken"
is "a failed build is an error" "$(again)" "status 1
a_test "
rm "$work/broken"
compiler 1.0
touch -d '2100-01-01' "$out/headers/usr/a.h"
is "the headers stay as they are" "$(made), $(date -r "$out/headers/usr/a.h" +%Y)" \
    "a_test lib/a.o touched, 2100"

done_testing
