#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# style.sh CHECK: checks the style of our files; lists mistakes, and fails if there
# are any.  CHECK is one of:
#
#   shell            shellcheck over every shell script
#   qemu, linux      the tree's own checkpatch.pl over our files in it
#   qemu-hooks, linux-hooks   likewise over our hooks
#   testbed          QEMU's checkpatch.pl over the testbed and the packages
#   licence          every file names its licence
#   upstream         no file is a copy of an upstream one
#   places           no file names a place on somebody's machine, or a mirror

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"
# shellcheck source=scripts/setup/trees.sh
. "$root/scripts/setup/trees.sh"
cd "$root"

# Without git there is nothing to check, which must not pass.
git ls-files --error-unmatch -- scripts/check/style.sh >/dev/null || die "git lists no files"

# ours PATH...: our files there: those in git, and new ones that are not ignored
ours() {
    git ls-files --cached --others --exclude-standard -- "$@" | sort -u |
        while read -r file; do
            [ ! -f "$file" ] || [ -L "$file" ] || echo "$file"
        done
}

is_shell() {
    case $1 in
    *.sh) return 0 ;;
    *) head -n 1 "$1" | grep -qaE '^#! ?/(usr/)?bin/(env )?(ba)?sh' ;;
    esac
}

check_shell() {
    ours | while read -r file; do
        ! is_shell "$file" || echo "$file"
    done | xargs shellcheck -x
}

# checkable: leaves the files that checkpatch.pl is made for
checkable() {
    grep -E '\.(c|h|S|json|py|rst)$' || :
}

# files_of TREE: our files in a prepared tree, by their path in it
files_of() {
    case $1 in
    qemu) tree_overlay qemu | tail -n +2 | while read -r top; do ours "$top"; done ;;
    linux) ours kernel | sed -n -e '/^kernel\/patches\//d' -e 's,^kernel/,,p' ;;
    esac | checkable
}

# checkpatch TREE FOLDER "OPTION..." FILE...: runs TREE's checkpatch.pl in FOLDER.
# Its checks depend on a file's path, so FILE is the path in the tree.
checkpatch() {
    _script=$build/$1/src/scripts/checkpatch.pl
    _options=$3
    cd "$2"
    shift 3
    _failed=0
    for _file; do
        # shellcheck disable=SC2086 # a list of options
        perl "$_script" --root="${_script%/scripts/*}" -q $_options "$_file" ||
            _failed=$((_failed + 1))
    done
    say "$# files, $_failed with errors"
    [ "$#" != 0 ] && [ "$_failed" = 0 ]
}

hooks_of() {
    _hooks=$(tree_hooks "$1")
    ours "${_hooks#"$root/"}" | grep '\.patch$' | sed "s,^,$root/," || :
}

# No compiler complains of a file without the line.
check_licence() {
    ours | while read -r file; do
        case $file in
        # The licence itself; lists of names and changes; files in a patch have
        # their own.
        COPYING | *.patch | */series | packages/debian/changelog) continue ;;
        esac
        [ ! -s "$file" ] || head -n 40 "$file" | grep -q 'SPDX-License-Identifier: ' ||
            echo "no SPDX line: $file"
        case $file in
        kernel/*)
            head -n 40 "$file" | grep -q 'SPDX-License-Identifier: GPL-2.0-only' ||
                echo "kernel files are GPL-2.0-only: $file"
            ;;
        esac
    done | fails_with_output
}

# Compares sizes first: two trees have a hundred thousand files.
check_upstream() {
    list=$(mktemp)
    trap 'rm -f "$list"' EXIT
    find "$build/qemu/src" "$build/linux-stock/src" -name .pc -prune -o \
        -type f -size +0 -printf '%s %p\n' >"$list"
    ours | while read -r file; do
        [ -s "$file" ] || continue
        printf '%s %s\n' "$(stat -c %s "$file")" "$file"
    done | awk 'NR == FNR { mine[$1] = mine[$1] " " $2; next }
        $1 in mine { n = split(mine[$1], f, " "); for (i = 1; i <= n; i++) print f[i], $2 }' \
        - "$list" | while read -r file upstream; do
        ! cmp -s "$file" "$upstream" || echo "$file is a copy of $upstream"
    done | fails_with_output
}

check_places() {
    ours | while read -r file; do
        # A hook quotes upstream's lines.
        case $file in
        COPYING | *.patch) continue ;;
        esac
        grep -HnE '(^|[^A-Za-z0-9_.$}"])/(home|work|Users)/|debian[.]org' "$file" || :
    done | fails_with_output
}

fails_with_output() {
    awk '{ print } END { exit NR > 0 }'
}

# shellcheck disable=SC2046 # lists of names without blanks
case ${1:-} in
shell) check_shell ;;
qemu) checkpatch qemu "$build/qemu/src" -f $(files_of qemu) ;;
linux) checkpatch linux "$build/linux/src" "--no-summary -f" $(files_of linux) ;;
testbed)
    # It changes the folder.
    (checkpatch qemu "$root/testbed" -f $(ours testbed | sed 's,^testbed/,,' | checkable)) &&
        checkpatch qemu "$root/packages" -f $(ours packages | sed 's,^packages/,,' | checkable)
    ;;
qemu-hooks) checkpatch qemu "$build/qemu/src" --no-signoff $(hooks_of qemu) ;;
linux-hooks)
    checkpatch linux "$build/linux/src" \
        "--no-signoff --no-summary --ignore FILE_PATH_CHANGES" $(hooks_of linux) \
        $(ours packages/dkms | grep '\.patch$' | sed "s,^,$root/,")
    ;;
licence) check_licence ;;
upstream) check_upstream ;;
places) check_places ;;
*) die "usage: style.sh CHECK" ;;
esac
