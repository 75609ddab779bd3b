#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# series.sh [DIR [TREE]...]: writes our files and hooks as patches for "git am", to
# DIR/qemu and DIR/linux (build/series), or to one of them.  There is one patch for
# each hook, in the order of the series; patches/files says with which one each of
# our files comes.  Author and sign-off are git's identity of whoever runs this.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"
# shellcheck source=scripts/setup/trees.sh
. "$root/scripts/setup/trees.sh"

target=${1:-$build/series}
[ $# = 0 ] || shift
[ $# != 0 ] || set -- qemu linux

identity=$(git -C "$root" var GIT_AUTHOR_IDENT 2>/dev/null) ||
    die "git does not know who you are: set user.name and user.email (git config)"
GIT_AUTHOR_NAME=${identity%% <*}
GIT_AUTHOR_EMAIL=${identity#*<}
GIT_AUTHOR_EMAIL=${GIT_AUTHOR_EMAIL%%>*}
GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME
GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
# The user's other settings must not change the patches.
GIT_CONFIG_GLOBAL=/dev/null
GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL \
    GIT_CONFIG_GLOBAL GIT_CONFIG_NOSYSTEM

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

# take_upstream HOOK...: copies the upstream state of the files that hooks change,
# from quilt's backups: the first backup of a file has it
take_upstream() {
    for hook; do
        [ -d "$src/.pc/$hook" ] || die "$hook is not applied in $src: run make"
        (cd "$src/.pc/$hook" && find . -type f ! -name .timestamp) | sed 's,^\./,,' |
            while read -r file; do
                grep -qxF "$file" "$scratch/taken" && continue
                echo "$file" >>"$scratch/taken"
                # quilt's backup of a new file is empty.
                [ -s "$src/.pc/$hook/$file" ] || continue
                mkdir -p "$(dirname "$repo/$file")"
                cp "$src/.pc/$hook/$file" "$repo/$file"
            done
    done
}

# assign: prints "HOOK FILE" for each of our files: the longest name in the list
# that is the file's or one of a folder above it says which hook
assign() {
    tree_files "$tree" | awk -v list="$hooks/files" '
        BEGIN {
            while ((getline line <list) > 0) {
                if (line ~ /^#/)
                    continue
                n = split(line, words, " ")
                if (line ~ /^[^ ]/)
                    hook = words[1]
                else
                    for (i = 1; i <= n; i++)
                        goes[words[i]] = hook
            }
        }
        {
            for (name = $0; !(name in goes) && name ~ /\//; )
                sub(/\/[^\/]*$/, "", name)
            print (name in goes ? goes[name] : "-"), $0
        }'
}

# files_of HOOK: our files that come with it
files_of() {
    sed -n "s,^$1 ,,p" "$scratch/assigned"
}

# put_build_files: writes our meson.build files that have come, without the lines
# that name sources which have not.  A unit test has the name of its source.
put_build_files() {
    while read -r _ file; do
        [ -e "$repo/$file" ] || echo "${file##*/}"
    done <"$scratch/assigned" | grep '\.c$' >"$scratch/later" || :
    while read -r _ file; do
        case $file in
        */meson.build) [ -e "$repo/$file" ] || continue ;;
        *) continue ;;
        esac
        awk -v list="$scratch/later" '
            BEGIN { while ((getline name <list) > 0) later[name] }
            {
                for (name in later) {
                    test = substr(name, 1, length(name) - 2)
                    if (index($0, "\047" name "\047") ||
                        index($0, "/" name "\047") || index($0, "\047" test "\047:"))
                        next
                }
                print
            }' "$base/$file" >"$repo/$file"
    done <"$scratch/assigned"
}

# message HOOK: its subject and text.  git adds the sign-off.
message() {
    sed -n -e '/^---\( a\/.*\)\{0,1\}$/q' -e '/^From: /d' -e '/^Signed-off-by: /d' \
        -e 's/^Subject: \(\[PATCH\] \)\{0,1\}//' -e p "$hooks/$1"
}

in_repo() {
    git -C "$repo" "$@"
}

for tree; do
    src=$build/$tree/src
    hooks=$(tree_hooks "$tree")
    base=$(tree_overlay "$tree" | head -n 1)
    repo=$scratch/$tree
    series=$(tree_series "$tree")

    assign >"$scratch/assigned"
    lost=$(files_of - | tr '\n' ' ')
    [ -z "$lost" ] || die "${hooks#"$root/"}/files has no line for ${lost% }"
    while read -r hook _; do
        printf '%s\n' "$series" | grep -qxF "$hook" ||
            die "${hooks#"$root/"}/files names $hook, which is not in the series"
    done <"$scratch/assigned"

    mkdir "$repo"
    in_repo init -q
    : >"$scratch/taken"
    # shellcheck disable=SC2086 # names without blanks
    take_upstream $series
    in_repo add -A
    in_repo commit -q --allow-empty -m upstream
    first=$(in_repo rev-parse HEAD)

    for hook in $series; do
        patch -d "$repo" -p1 -s --no-backup-if-mismatch -i "$hooks/$hook" ||
            die "$hook does not apply to upstream's files"
        for file in $(files_of "$hook"); do
            mkdir -p "$(dirname "$repo/$file")"
            cp "$base/$file" "$repo/$file"
        done
        put_build_files
        in_repo add -A
        message "$hook" | in_repo commit -q -s --cleanup=whitespace -F -
    done

    rm -rf "${target:?}/$tree"
    mkdir -p "$target/$tree"
    in_repo format-patch -q --no-signature -o "$(cd "$target/$tree" && pwd)" "$first"
    # shellcheck disable=SC2012 # names that git made
    say "$target/$tree: $(ls "$target/$tree" | wc -l) patches"
done
