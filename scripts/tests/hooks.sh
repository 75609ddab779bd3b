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
is "the series is applied: the first hook" "$(sed -n 2p "$src/a" "$src/b" | tr '\n' ' ')" "TWO "
is "the series is applied: the second hook" "$(sed -n 2p "$src/b")" ZWEI
is "nothing to do the second time" "$(hooks apply)" ""

touch -d '2001-01-01' "$src/a" "$src/b"
hook second b two DEUX
is "a changed hook: its file is named" "$(hooks apply)" "    qemu: b"
is "a changed hook is applied anew" "$(sed -n 2p "$src/b")" DEUX
is "a changed hook: another file keeps its time stamp" "$(date -r "$src/a" +%Y)" 2001

hook second b zwei DREI
said=$(hooks apply)
matches "a hook that does not apply is named, with the file" "$said" 'second.patch does not apply to b'
is "a hook that does not apply leaves the tree as it was" "$(sed -n 2p "$src/b")" DEUX
hook second b two DEUX

echo four >>"$src/a"
hook second b two TROIS
matches "an edit and a changed hook: an error that names the edit" "$(hooks apply)" 'edited.* a\..*make refresh'
is "an edit and a changed hook: the edit stays" "$(sed -n 4p "$src/a")" four
matches "an edit and a changed hook: the hook is not overwritten" "$(hooks refresh)" 'second.patch'
hook second b two DEUX
matches "refresh names the hook" "$(hooks refresh)" 'first.patch'
matches "refresh puts the edit into the hook" "$(cat "$top/patches/first.patch")" '^\+four$'
matches "refresh keeps the hook's message" "$(head -n 1 "$top/patches/first.patch")" '^first: a reason$'
is "nothing to apply after a refresh" "$(hooks apply)" ""
matches "nothing to refresh after a refresh" "$(hooks refresh)" 'hold all edits already'

in_tree() {
    (cd "$src" && QUILT_PATCHES=patches quilt --quiltrc /dev/null "$@" >/dev/null 2>&1) ||
        echo "failed"
}

# The recipes of docs/fork.md.
echo five >>"$src/b"
matches "an edit before a refresh: a warning" "$(hooks apply)" '^warning: build/qemu/src .* yet: b '
is "an edit before a refresh stays" "$(tail -n 1 "$src/b")" five
matches "an edit is refreshed" "$(hooks refresh)" '^qemu: second.patch$'
is "no warning after a refresh" "$(hooks apply)" ""
sed -i '$s/.*/nonsense/' "$src/b"
is "discard names the edited file" "$(hooks discard)" "    qemu: b"
is "discard restores what the hook makes of it" "$(tail -n 1 "$src/b")" five

in_tree pop first.patch
echo six >>"$src/a"
matches "an edit in an earlier hook: a warning" "$(hooks apply)" ' yet: a b '
is "an edit in an earlier hook is refreshed" "$(hooks refresh)" "qemu: first.patch"
is "an edit in an earlier hook: later hooks are applied again" "$(sed -n 2p "$src/b")" DEUX
is "an edit in an earlier hook is kept" "$(tail -n 1 "$src/a")" six
is "nothing to do after that" "$(hooks apply)$(hooks refresh)" \
    "qemu: the hooks hold all edits already"

in_tree pop first.patch
echo stray >>"$src/b"
matches "an edit that is in no applied hook is reported" "$(hooks refresh)" 'in no hook: b '
is "an edit that is in no applied hook stays" "$(tail -n 1 "$src/b")" stray
in_tree pop first.patch
sed -i '/^stray$/d' "$src/b"
hooks refresh >/dev/null

printf 'one\n2\nthree\n' >"$src/c"
hook third a TWO THREE
echo third.patch >>"$top/patches/series"
sed -i 's/^@@ .*/@@ -1,4 +1,4 @@/; $a\ four' "$top/patches/third.patch"
hooks apply >/dev/null
is "two hooks for one file are applied" "$(sed -n 2p "$src/a")" THREE
in_tree pop first.patch
sed -i 2s/.*/Zwo/ "$src/a"
matches "a later hook does not apply after an edit: an error" "$(hooks refresh)" \
    'third.patch does not apply to a .*quilt push -f'
matches "a later hook does not apply: the edit is in its hook" "$(cat "$top/patches/first.patch")" '^\+Zwo$'
in_tree push second.patch
is "quilt push -f rejects the later hook" "$(in_tree push -f)" failed
sed -i 2s/.*/DREI/ "$src/a"
matches "the later hook is refreshed" "$(hooks refresh)" '^qemu: third.patch$'
is "the series applies again" "$(hooks apply)" ""
matches "the later hook has new context" "$(cat "$top/patches/third.patch")" '^-Zwo$'

in_tree new fourth.patch
in_tree add c
sed -i 2s/.*/zwei/ "$src/c"
matches "a new hook: a warning before a refresh" "$(hooks apply)" ' yet: c '
matches "a new hook is refreshed" "$(hooks refresh)" '^qemu: fourth.patch$'
is "nothing to do after that refresh" "$(hooks apply)" ""
matches "a new hook has its edit" "$(cat "$top/patches/fourth.patch")" '^\+zwei$'

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
is "killed while it applies the first time" "$(signalled KILL b)" failed
is "killed: only a part is applied" "$(sed -n 2p "$src/a" && sed -n 2p "$src/b")" "TWO
two"
matches "killed: nothing to refresh" "$(hooks refresh)" 'run make again'
is "killed: the next run completes it" "$(hooks apply)" "    qemu: b"
is "killed: nothing to do after the next run" "$(hooks apply)$(hooks refresh)" "qemu: the hooks hold all edits already"
hook first a two ONCE
echo first.patch >"$top/patches/series"
is "killed while it applies a changed series" "$(signalled KILL a)" failed
is "killed with a changed series: the next run completes it" "$(hooks apply)" "    qemu: a b"
is "killed with a changed series: a removed hook is undone" "$(sed -n 2p "$src/b")" two
hook first a two MORE
is "SIGINT does not stop it halfway" "$(signalled INT a)" "    qemu: a"
is "SIGINT: nothing is left to do" "$(hooks apply)" ""

upstream
hook first a two TWO
printf 'first.patch\nsecond.patch\n' >"$top/patches/series"
(cd "$src" && QUILT_PATCHES=$top/patches quilt --quiltrc /dev/null push -a >/dev/null)
is "a tree prepared by hand is accepted" "$(hooks apply)" ""
is "a tree prepared by hand stays as it is" "$(sed -n 2p "$src/b")" DEUX

echo first.patch >"$top/patches/series"
hooks apply >/dev/null
is "a hook that left the series is undone" "$(sed -n 2p "$src/b")" two
: >"$top/patches/series"
hooks apply >/dev/null
is "the last hook that left the series is undone" "$(wc -l <"$src/a" | tr -d ' ')" 3

done_testing
