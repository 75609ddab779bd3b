#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# hooks.sh TREE apply     applies the hooks to the prepared tree
# hooks.sh TREE refresh   puts edits of the prepared tree into the hooks
# hooks.sh TREE discard   as apply, but throws away edits that are in no hook
#
# The series is first applied in a scratch folder, to the few files that it
# changes, in their upstream state.  So a hook that does not apply leaves the tree
# as it was.  A file that comes out the same keeps its time stamp, so nothing is
# built again for it.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"
# shellcheck source=scripts/setup/trees.sh
. "$root/scripts/setup/trees.sh"

[ $# = 2 ] || die "usage: hooks.sh TREE apply|refresh|discard"
tree=$1
src=$build/$tree/src
hooks=$(tree_hooks "$tree")
stamp=$build/$tree/hooks.stamp

[ -n "$hooks" ] || exit 0
[ -d "$src" ] || die "there is no $src yet: run ./configure"
lock_build

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

# run_quilt ARGUMENT...: quilt without the user's settings
run_quilt() {
    QUILT_PATCHES=patches QUILT_DIFF_OPTS=-p QUILT_SERIES=series QUILT_PC=.pc \
        quilt --quiltrc /dev/null "$@"
}

series() {
    tree_series "$tree"
}

applied() {
    cat "$src/.pc/applied-patches" 2>/dev/null || :
}

# unapplied: hooks that are popped, or new
unapplied() {
    applied | { cat; echo; series; } | awk '/^$/ { rest = 1; next }
        !rest { applied[$1] } rest && !($1 in applied)'
}

# files_in_series: the files that the hooks change, from the patches
files_in_series() {
    series | while read -r hook; do
        [ -f "$hooks/$hook" ] || continue
        awk '/^--- / { old = $2; next }
             /^\+\+\+ / && old != "" {
                 name = $2 == "/dev/null" ? old : $2
                 sub(/^[^\/]*\//, "", name)
                 print name
             }
             { old = "" }' "$hooks/$hook"
    done
}

# files_in_tree: the files that the applied hooks change, from quilt's backups
files_in_tree() {
    applied | while read -r hook; do
        [ -d "$src/.pc/$hook" ] || continue
        (cd "$src/.pc/$hook" && find . -type f ! -name .timestamp | sed 's,^\./,,')
    done
}

# upstream_file FILE: where its upstream content is now; empty if upstream has no
# such file
upstream_file() {
    applied | {
        while read -r hook; do
            if [ -e "$src/.pc/$hook/$1" ]; then
                [ -s "$src/.pc/$hook/$1" ] && echo "$src/.pc/$hook/$1"
                exit 0
            fi
        done
        [ -f "$src/$1" ] && echo "$src/$1"
        :
    }
}

# push: applies the whole series in the scratch folder
push() {
    for file in $touched; do
        origin=$(upstream_file "$file")
        [ -n "$origin" ] || continue
        mkdir -p "$(dirname "$scratch/$file")"
        cp -p "$origin" "$scratch/$file"
        chmod u+w "$scratch/$file"
    done
    ln -s "$hooks" "$scratch/patches"
    [ -n "$(series)" ] || return 0
    (cd "$scratch" && run_quilt push -a) >"$logs/hooks-$tree.log" 2>&1
}

# push_failure: why push() failed, in one line
push_failure() {
    awk '/^Applying patch / { hook = $3; file = ""; sub(/^patches\//, "", hook) }
         /^patching file / { current = $3 }
         /FAILED|No file to patch|malformed|can.t find file/ && file == "" { file = current }
         /^\|\+\+\+ / && file == "" { file = $2 }
         /does not exist/ { what = "is in the series, but does not exist" }
         /reverse-applied/ { what = "is already applied, by other means than quilt" }
         END {
             if (what == "")
                 what = "does not apply" (file == "" ? "" : " to " file)
             print hook " " what
         }' "$logs/hooks-$tree.log"
}

# same FILE: is it the same in the tree and in the scratch folder?
same() {
    if [ -e "$scratch/$1" ]; then
        cmp -s "$scratch/$1" "$src/$1"
    else
        [ ! -e "$src/$1" ]
    fi
}

# differing: the files in the tree that differ from what the series makes of them
differing() {
    for file in $touched; do
        same "$file" || printf ' %s' "$file"
    done
}

# edited: the files that differ from how this script left them the last time, and
# those that were added to quilt since
edited() {
    {
        sed -n 's/^tree //p' "$stamp" |
            (cd "$src" && sha256sum -c --quiet - 2>/dev/null) | sed 's/: FAILED.*//'
        files_in_tree | while read -r file; do
            [ ! -e "$src/$file" ] || grep -q "^tree [0-9a-f]*  $file\$" "$stamp" ||
                echo "$file"
        done
    } | sort -u
}

as_left() {
    [ -f "$stamp" ] && [ -z "$(edited)" ]
}

hooks_sums() {
    (cd "$hooks" && for hook in series $(series); do
        [ -f "$hook" ] && sha256sum "$hook"
    done) || :
}

# unfinished: was take() killed?
unfinished() {
    grep -qx unfinished "$stamp" 2>/dev/null
}

# same_hooks: are the hooks the same as when this script last applied them?  A new
# hook that has not been refreshed yet is only in the series.
same_hooks() {
    [ -f "$stamp" ] && ! unfinished &&
        [ "$(sed -n '/  series$/d; s/^hook //p' "$stamp")" = \
        "$(hooks_sums | sed '/  series$/d')" ]
}

# upstream_sum FILE: the checksum of its upstream content
upstream_sum() {
    origin=$(upstream_file "$1")
    sha256sum "${origin:-/dev/null}" | cut -d ' ' -f 1
}

write_stamp() {
    {
        hooks_sums | sed 's/^/hook /'
        for file in $touched; do
            [ -f "$src/$file" ] && (cd "$src" && sha256sum "$file")
        done | sed 's/^/tree /'
        for file in $touched; do
            echo "from $(upstream_sum "$file")  $file"
        done
    } >"$stamp"
}

# take_backups: moves quilt's backups from the scratch folder to the tree
take_backups() {
    rm -rf "$build/$tree/pc.old" "$build/$tree/pc.new"
    if [ -d "$scratch/.pc" ]; then
        cp -a "$scratch/.pc" "$build/$tree/pc.new"
    fi
    [ ! -d "$src/.pc" ] || mv "$src/.pc" "$build/$tree/pc.old"
    [ ! -d "$build/$tree/pc.new" ] || mv "$build/$tree/pc.new" "$src/.pc"
    rm -rf "$build/$tree/pc.old"
}

# take: makes the tree the same as the scratch folder
take() {
    # Half of it would look like edits, so Ctrl-C has to wait.  If this is killed
    # all the same, the next apply() must know, and needs backups with the upstream
    # state of every file that is changed here.
    trap '' HUP INT TERM
    echo unfinished >"$stamp"
    [ -d "$src/.pc" ] || take_backups
    changed=
    for file in $touched; do
        same "$file" && continue
        if [ -e "$scratch/$file" ]; then
            mkdir -p "$(dirname "$src/$file")"
            cp "$scratch/$file" "$src/$file"
        else
            rm -f "$src/$file"
        fi
        changed="$changed $file"
    done
    [ -z "$changed" ] || say "    $tree:$changed"
    take_backups
    link_series
    write_stamp
}

# link_series: lets quilt find the series under its usual name in the tree
link_series() {
    ln -sfn "../../../${hooks#"$root/"}" "$src/patches"
    if [ -d "$src/.pc" ]; then
        echo patches >"$src/.pc/.quilt_patches"
        echo series >"$src/.pc/.quilt_series"
    fi
}

all_touched() {
    { files_in_series; files_in_tree; } | sort -u
}

apply() {
    if as_left && [ -L "$src/patches" ] &&
        [ "$(sed -n 's/^hook //p' "$stamp")" = "$(hooks_sums)" ]; then
        return 0
    fi
    touched=$(all_touched)
    mkdir -p "$logs"
    link_series
    # An edit can be built and tested before it becomes part of a hook.
    if [ "$1" != discard ] && [ -n "$(applied)" ] && same_hooks && ! as_left; then
        warn "build/$tree/src stays as it was edited, which no hook has yet: \
$(edited | tr '\n' ' ')('make refresh' puts it into the hooks and applies them all)"
        return 0
    fi
    push || die "$(push_failure) (whole output: $logs/hooks-$tree.log)"
    if [ -n "$(differing)" ] && ! as_left && [ -n "$(applied)" ] &&
        [ "$1" != discard ] && ! unfinished; then
        [ -f "$stamp" ] && edits=$(edited | tr '\n' ' ') || edits=$(differing)
        die "build/$tree/src was edited, and the edits are in no hook: ${edits% }. \
'make refresh' puts them into the hooks; 'scripts/setup/hooks.sh $tree discard' throws them away"
    fi
    take
}

# refuse_stale: hooks that have changed since they were applied; a refresh would
# overwrite them with their former state in the tree
refuse_stale() {
    applied | while read -r hook; do
        [ -n "$(find "$hooks/$hook" -newer "$src/.pc/$hook/.timestamp" 2>/dev/null)" ] ||
            continue
        grep -q "^hook $(cd "$hooks" && sha256sum "$hook")\$" "$stamp" 2>/dev/null ||
            printf ' %s' "$hook"
    done
}

# strays: files that were edited without "quilt add"
strays() {
    [ -f "$stamp" ] || return 0
    (cd "$src" && find . -name .pc -prune -o -name __pycache__ -prune -o \
        -type f -newer "$stamp" ! -name '*~' ! -name '*.orig' ! -name '*.rej' -print) |
        sed 's,^\./,,' | while read -r file; do
        printf '%s\n' "$touched" | grep -qxF "$file" || printf ' %s' "$file"
    done
    # With its hook popped, such a file looks like an upstream one.
    sed -n 's/^from //p' "$stamp" | while read -r sum file; do
        [ "$(upstream_sum "$file")" = "$sum" ] || printf ' %s' "$file"
    done
}

refresh() {
    ! unfinished || die "the last make was killed while it applied hooks: run make again"
    [ -n "$(applied)" ] || die "no hook is applied in build/$tree/src: run ./configure"
    touched=$(all_touched)
    mkdir -p "$logs"
    stale=$(refuse_stale)
    if [ -n "$stale" ]; then
        if push && [ -z "$(differing)" ]; then
            take
            return 0
        fi
        die "changed here since they were applied to build/$tree/src, which was edited too:$stale. \
Put the former ones back (git stash), 'make refresh', and merge the two"
    fi
    link_series
    before=$(hooks_sums)
    for hook in $(applied); do
        # -f: a later hook may change the same file; each keeps its own part.
        (cd "$src" && run_quilt refresh -f -p ab --no-timestamps --no-index "$hook") \
            >"$logs/refresh-$tree.log" 2>&1 || {
            log_tail "$logs/refresh-$tree.log"
            die "$hook cannot be refreshed"
        }
    done
    after=$(hooks_sums)
    if [ "$before" = "$after" ]; then
        say "$tree: the hooks hold all edits already"
    else
        printf '%s\n' "$after" | while read -r sum hook; do
            printf '%s\n' "$before" | grep -qxF "$sum  $hook" || say "$tree: $hook"
        done
    fi
    stray=$(strays)
    [ -z "$stray" ] ||
        warn "edited, but in no hook:$stray ('quilt add' comes before the edit, see docs/fork.md)"
    touched=$(all_touched)
    push || die "$(push_failure) (whole output: $logs/hooks-$tree.log); \
'quilt push -f' in build/$tree/src, mend it there, and 'make refresh'"
    if [ -n "$(unapplied)" ]; then
        (cd "$src" && run_quilt push -a) >"$logs/refresh-$tree.log" 2>&1 || {
            log_tail "$logs/refresh-$tree.log"
            die "not all hooks are applied: 'quilt pop -a' and 'quilt push -a' in build/$tree/src"
        }
    fi
    edits=$(differing)
    [ -z "$edits" ] || die "still not in a hook:$edits"
    take
}

case $2 in
apply | discard) apply "$2" ;;
refresh) refresh ;;
*) die "unknown command '$2'" ;;
esac
