#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests what qemu.sh makes of options for QEMU's configure, and what "make install",
# "make packages" and "make linux-deb" refuse.  QEMU's configure is faked.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

make_checkout
out=$top/build/qemu/out
calls=$work/calls
echo x86_64-softmmu >"$top/build/target-list"
# It accepts all but three options.  One fails as Meson does, when it has written files.
cat >"$top/build/qemu/src/configure" <<END
#!/bin/sh
echo "\$*" >>'$calls'
END
cat >>"$top/build/qemu/src/configure" <<'END'
for option; do
    case $option in
    --enable-late)
        touch build.ninja config-meson.cross
        echo '../src/meson.build:12:3: ERROR: Dependency "late" not found, tried pkgconfig'
        exit 1
        ;;
    --enable-lost)
        echo 'Run-time dependency found found: YES 1.0'
        echo 'Run-time dependency lost found: NO (tried pkgconfig)'
        echo '../src/meson.build:12:3: ERROR: Automatic wrap-based subproject downloading is disabled'
        exit 1
        ;;
    --enable-bad)
        echo "ERROR: unknown option --enable-bad"
        echo "Try '$0 --help' for more information"
        exit 1
        ;;
    esac
done
{
    printf exec
    for word in "$0" "$@"; do
        printf ' %s' "'$(printf '%s' "$word" | sed "s/'/'\\\\''/g")'"
    done
    echo ' "$@"'
} >config.status
touch build.ninja
END
chmod +x "$top/build/qemu/src/configure"

# configure [OPTION]...: of qemu.sh, as configure runs it
configure() {
    : >"$calls"
    (POSTERN_QEMU_OPTIONS=$(printf '%s\n' "$@") sh "$top/scripts/build/qemu.sh" configure 2>&1) ||
        echo "status $?"
}

# state: what a build depends on
state() {
    (cd "$out" && find . -type f -exec sha256sum {} + | sort)
    find "$top/build/qemu" -mindepth 1 -maxdepth 1 | sort
}

configure >/dev/null
is "without options, QEMU is configured" "$(wc -l <"$calls")" 1
configure >/dev/null
is "a second time, there is nothing to do" "$(wc -l <"$calls")" 0
before=$(state)
for option in bad:'unknown option --enable-bad' late:'Dependency "late" not found' \
    lost:'the library lost is not installed'; do
    name=--enable-${option%%:*}
    said=$(configure --enable-good "$name" | sed '/^    trying /d')
    matches "$name: the reason" "$said" "^qemu.sh: QEMU's configure: ${option#*:}"
    is "$name: one line, and status 1" \
        "$(printf '%s\n' "$said" | wc -l) $(printf '%s\n' "$said" | tail -n 1)" "2 status 1"
    is "$name: nothing has changed" "$(state)" "$before"
done
configure --enable-good "--with-pkgversion=it's" >/dev/null
is "options that are accepted come last" "$(tail -n 1 "$calls" | sed 's/.* --enable-good/--enable-good/')" \
    "--enable-good --with-pkgversion=it's"
configure --enable-good "--with-pkgversion=it's" >/dev/null
is "with the same options, there is nothing to do" "$(wc -l <"$calls")" 0
configure >/dev/null
is "without them, QEMU is configured again" "$(wc -l <"$calls") $(grep -c enable-good "$calls")" "1 0"
echo --enable-good >"$top/build/qemu-options"
: >"$calls"
sh "$top/scripts/build/qemu.sh" configure >/dev/null
is "make takes those that configure has kept" "$(tail -n 1 "$calls" | grep -c enable-good)" 1
: >"$calls"
mkdir -p "$top/build/qemu-stock"
cp -R "$top/build/qemu/src" "$top/build/qemu-stock/src"
sh "$top/scripts/build/qemu.sh" --stock configure >/dev/null
is "they are not for upstream's QEMU" "$(wc -l <"$calls") $(grep -c enable-good "$calls")" "1 0"

# refuses CASE PATTERN COMMAND...: one line, status 1, and no file in build/ changes
refuses() {
    _case=$1 _pattern=$2
    shift 2
    _before=$(find "$top/build" | sort)
    said=$("$@" 2>&1 || echo "status $?")
    matches "$_case: it says why" "$said" "$_pattern"
    is "$_case: in one line, with status 1" \
        "$(printf '%s\n' "$said" | wc -l) $(printf '%s\n' "$said" | tail -n 1)" "2 status 1"
    is "$_case: nothing has changed" "$(find "$top/build" | sort)" "$_before"
}

refuses "install: a relative prefix" '^install.sh: PREFIX=here: ' \
    sh "$top/scripts/build/install.sh" here "$work"
touch "$work/file"
refuses "install: a prefix below a file" "^install.sh: $work/file cannot be written: " \
    sh "$top/scripts/build/install.sh" "$work/file/below"
XDG_CACHE_HOME=$work/cache
export XDG_CACHE_HOME
refuses "packages: without QEMU's source" '^qemu.sh: there is no build/qemu/src: run' \
    sh "$top/scripts/packages/qemu.sh"
echo 10.0.99 >"$top/build/qemu/src/VERSION"
touch "$top/build/qemu/src/qemu-options.hx"
refuses "packages: QEMU's source is not Debian's" \
    "^qemu.sh: Debian's packaging of QEMU 10.0.99 is not in $work/cache.*: configure without --qemu-source" \
    sh "$top/scripts/packages/qemu.sh"
refuses "linux-deb: a configuration that is not there" \
    "^linux.sh: CONFIG=$work/none: no such file" sh "$top/scripts/packages/linux.sh" "$work/none"
refuses "linux-deb: without Linux's source" '^linux.sh: there is no build/linux/src' \
    sh "$top/scripts/packages/linux.sh"
done_testing
