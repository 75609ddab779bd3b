#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests what hooks.sh does to a prepared tree and to the hooks.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

make_checkout
src=$top/build/qemu/src
hooks() {
    (sh "$top/scripts/setup/hooks.sh" qemu "$1" 2>&1) || echo "failed"
}

# hook NAME FILE OLD NEW: one that changes a line
hook() {
    printf '%s\n\n--- a/%s\n+++ b/%s\n@@ -1,3 +1,3 @@\n one\n-%s\n+%s\n three\n' \
        "$1: a reason" "$2" "$2" "$3" "$4" >"$top/patches/$1.patch"
}

printf 'one\ntwo\nthree\n' >"$src/a"
printf 'one\ntwo\nthree\n' >"$src/b"
hook first a two TWO
hook second b two ZWEI
printf '# a comment\nfirst.patch\nsecond.patch\n' >"$top/patches/series"

hooks apply >/dev/null
is "the series is applied" "$(sed -n 2p "$src/a" "$src/b" | tr '\n' ' ')" "TWO "
is "the second as well" "$(sed -n 2p "$src/b")" ZWEI
is "again: nothing to do" "$(hooks apply)" ""

touch -d '2001-01-01' "$src/a" "$src/b"
hook second b two DEUX
is "a changed hook" "$(hooks apply)" "    qemu: b"
is "is applied anew" "$(sed -n 2p "$src/b")" DEUX
is "another file keeps its time" "$(date -r "$src/a" +%Y)" 2001

hook second b zwei DREI
said=$(hooks apply)
matches "one that does not fit is named, with the file" "$said" 'second.patch does not apply to b'
is "and the tree stays as it was" "$(sed -n 2p "$src/b")" DEUX
hook second b two DEUX

echo four >>"$src/a"
hook second b two TROIS
matches "an edit is not thrown away" "$(hooks apply)" 'edited.* a\..*make refresh'
is "not even in another file" "$(sed -n 4p "$src/a")" four
matches "nor is the changed hook overwritten" "$(hooks refresh)" 'second.patch'
hook second b two DEUX
matches "refresh puts the edit into its hook" "$(hooks refresh)" 'first.patch'
matches "where it is" "$(cat "$top/patches/first.patch")" '^\+four$'
matches "under its own words" "$(head -n 1 "$top/patches/first.patch")" '^first: a reason$'
is "after that there is nothing to do" "$(hooks apply)" ""
matches "nor to refresh" "$(hooks refresh)" 'hold all edits already'

in_tree() {
    (cd "$src" && QUILT_PATCHES=patches quilt --quiltrc /dev/null "$@" >/dev/null 2>&1) ||
        echo "failed"
}

# The recipes of docs/fork.md.
echo five >>"$src/b"
matches "an edit can be built" "$(hooks apply)" '^warning: build/qemu/src .* yet: b '
is "and stays" "$(tail -n 1 "$src/b")" five
matches "before it is refreshed" "$(hooks refresh)" '^qemu: second.patch$'
is "which ends the warning" "$(hooks apply)" ""
sed -i '$s/.*/nonsense/' "$src/b"
is "or thrown away" "$(hooks discard)" "    qemu: b"
is "for what the hook says" "$(tail -n 1 "$src/b")" five

in_tree pop first.patch
echo six >>"$src/a"
matches "one in a hook that is not the last" "$(hooks apply)" ' yet: a b '
is "is refreshed" "$(hooks refresh)" "qemu: first.patch"
is "with the hooks behind it applied again" "$(sed -n 2p "$src/b")" DEUX
is "and none of it lost" "$(tail -n 1 "$src/a")" six
is "which leaves nothing to do" "$(hooks apply)$(hooks refresh)" \
    "qemu: the hooks hold all edits already"

in_tree pop first.patch
echo stray >>"$src/b"
matches "an edit of what only a popped hook has is told" "$(hooks refresh)" 'in no hook: b '
is "and stays as well" "$(tail -n 1 "$src/b")" stray
in_tree pop first.patch
sed -i '/^stray$/d' "$src/b"
hooks refresh >/dev/null

printf 'one\n2\nthree\n' >"$src/c"
hook third a TWO THREE
echo third.patch >>"$top/patches/series"
sed -i 's/^@@ .*/@@ -1,4 +1,4 @@/; $a\ four' "$top/patches/third.patch"
hooks apply >/dev/null
is "a third hook, in the first one's file" "$(sed -n 2p "$src/a")" THREE
in_tree pop first.patch
sed -i 2s/.*/Zwo/ "$src/a"
matches "an edit that a later hook does not fit" "$(hooks refresh)" \
    'third.patch does not apply to a .*quilt push -f'
matches "is in its hook all the same" "$(cat "$top/patches/first.patch")" '^\+Zwo$'
in_tree push second.patch
is "it is put in by hand" "$(in_tree push -f)" failed
sed -i 2s/.*/DREI/ "$src/a"
matches "and refreshed in its turn" "$(hooks refresh)" '^qemu: third.patch$'
is "so that all fits again" "$(hooks apply)" ""
matches "both ways" "$(cat "$top/patches/third.patch")" '^-Zwo$'

in_tree new fourth.patch
in_tree add c
sed -i 2s/.*/zwei/ "$src/c"
matches "a new hook can be built" "$(hooks apply)" ' yet: c '
matches "and refreshed" "$(hooks refresh)" '^qemu: fourth.patch$'
is "and is then one as the others" "$(hooks apply)" ""
matches "with its edit" "$(cat "$top/patches/fourth.patch")" '^\+zwei$'

# signalled SIGNAL FILE: applies; SIGNAL comes when FILE is put into the tree
signalled() {
    mkdir -p "$work/bin"
    cat >"$work/bin/cp" <<END
#!/bin/sh
case \$* in *" $src/$2") kill -$1 \$PPID; [ $1 = INT ] || exit ;; esac
exec /bin/cp "\$@"
END
    chmod +x "$work/bin/cp"
    (PATH=$work/bin:$PATH hooks apply) 2>/dev/null
}

upstream() {
    printf 'one\ntwo\nthree\n' | tee "$src/a" >"$src/b"
    rm -rf "$src/.pc" "$top/build/qemu/hooks.stamp"
}

upstream
hook first a two TWO
hook second b two DEUX
printf 'first.patch\nsecond.patch\n' >"$top/patches/series"
is "killed at the first time" "$(signalled KILL b)" failed
is "in the middle of it" "$(sed -n 2p "$src/a" && sed -n 2p "$src/b")" "TWO
two"
matches "it has nothing to refresh" "$(hooks refresh)" 'run make again'
is "but goes on the next time" "$(hooks apply)" "    qemu: b"
is "to its end" "$(hooks apply)$(hooks refresh)" "qemu: the hooks hold all edits already"
hook first a two ONCE
echo first.patch >"$top/patches/series"
is "killed at another time" "$(signalled KILL a)" failed
is "it goes on as well" "$(hooks apply)" "    qemu: a b"
is "and takes back what left the series" "$(sed -n 2p "$src/b")" two
hook first a two MORE
is "SIGINT does not keep it from its end" "$(signalled INT a)" "    qemu: a"
is "where nothing is left to do" "$(hooks apply)" ""

upstream
hook first a two TWO
printf 'first.patch\nsecond.patch\n' >"$top/patches/series"
(cd "$src" && QUILT_PATCHES=$top/patches quilt --quiltrc /dev/null push -a >/dev/null)
is "a tree made by hand is taken over" "$(hooks apply)" ""
is "as it is" "$(sed -n 2p "$src/b")" DEUX

echo first.patch >"$top/patches/series"
hooks apply >/dev/null
is "a hook that left the series is taken back" "$(sed -n 2p "$src/b")" two
: >"$top/patches/series"
hooks apply >/dev/null
is "and so is the last" "$(wc -l <"$src/a" | tr -d ' ')" 3

done_testing
