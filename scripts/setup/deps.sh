#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# deps.sh check     lists everything of deps*.list that is missing
# deps.sh install   installs it from the Debian archive

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"

# version_at_least VERSION WANTED
version_at_least() {
    [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}

# is_installed PACKAGE: does dpkg have it?
is_installed() {
    dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null |
        grep -qx installed
}

# has_file A|B: does one of the files exist?
has_file() {
    _rest=$1
    while [ -n "$_rest" ]; do
        [ -e "${_rest%%|*}" ] && return 0
        case $_rest in
        *'|'*) _rest=${_rest#*|} ;;
        *) _rest= ;;
        esac
    done
    return 1
}

# apt and the archive's key are only needed to fetch from the archive: anything
# (1), aarch64's busybox, or nothing (0).
need_archive=${POSTERN_NEED_ARCHIVE:-1}
lists=deps.list
[ "$need_archive" = 0 ] || lists="$lists deps-archive.list"
! has_target aarch64 || lists="$lists deps-aarch64.list"
for list in ${POSTERN_ALSO:-}; do
    lists="$lists deps-$list.list"
done

has() {
    _kind=$1 _name=$2 _package=$3
    case $_kind in
    tool | nice) command -v "$_name" >/dev/null ;;
    meson)
        command -v meson >/dev/null &&
            version_at_least "$(meson --version 2>/dev/null)" "$_name"
        ;;
    python) /usr/bin/python3 -c "import $_name" 2>/dev/null ;;
    perl) perl "-M$_name" -e 1 2>/dev/null ;;
    lib)
        if command -v pkg-config >/dev/null; then
            pkg-config --exists "$_name"
        else
            is_installed "$_package"
        fi
        ;;
    file) has_file "$_name" ;;
    *) die "deps.list: unknown kind '$_kind'" ;;
    esac
}

# title KIND NAME: the name for a person
title() {
    case $1 in
    tool | nice) echo "$2" ;;
    meson) echo "meson >= $2" ;;
    python) echo "Python module $2" ;;
    perl) echo "Perl module $2" ;;
    lib) echo "library $2" ;;
    file) echo "${2%%|*}" ;;
    esac
}

# missing KINDS: "title<TAB>package" for each missing thing of those kinds
missing() {
    # shellcheck disable=SC2086 # a list of names
    (cd "$root/scripts/setup" && cat $lists) | while read -r kind name package; do
        case $kind in
        '' | '#') continue ;;
        esac
        case " $1 " in
        *" $kind "*) ;;
        *) continue ;;
        esac
        has "$kind" "$name" "$package" ||
            printf '%s\t%s\n' "$(title "$kind" "$name")" "$package"
    done
}

packages_of() {
    cut -f 2 | sort -u | tr '\n' ' ' | sed 's/ $//'
}

must='tool meson python perl lib file'

# only_for LIST: missing packages that only this list asks for
only_for() (
    lists=$1
    missing "$must" | packages_of
)

# way_out: how to do without missing packages that only aarch64 needs
way_out() {
    has_target aarch64 || return 0
    without='./configure --target-list=x86_64-softmmu'
    packages=$(only_for deps-aarch64.list)
    [ -z "$packages" ] ||
        say "$packages: for aarch64 only; $without (with your other options) leaves it out."
    [ "$need_archive" = busybox ] || return 0
    packages=$(only_for deps-archive.list)
    [ -z "$packages" ] ||
        say "$packages: only to fetch a busybox for aarch64; --aarch64-busybox=FILE \
names one, $without (with your other options) leaves it out."
}

check() {
    list=$(missing "$must")
    [ -n "$list" ] || return 0
    {
        say "missing on this machine:"
        printf '%s\n' "$list" | awk -F '\t' '{ printf "    %-34s %s\n", $1, $2 }'
        say "The Debian packages that hold them:"
        say "    $(printf '%s\n' "$list" | packages_of)"
        case $list in
        *'meson >='*)
            say "Debian 12 has meson >= 1.5 in bookworm-backports."
            ;;
        esac
        way_out
    } >&2
    return 1
}

# give_up REASON: ends the installation; successfully if only packages are missing
# that are nice to have
give_up() {
    check || die "$1"
    warn "going on without $(missing nice | packages_of): $1"
    exit 0
}

install() {
    list=$(missing "$must nice")
    [ -n "$list" ] || return 0
    packages=$(printf '%s\n' "$list" | packages_of)
    command -v apt-get >/dev/null ||
        give_up "no apt-get here: install them by this system's own means"
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
        as_root=sudo
    else
        give_up "installing needs root, or sudo; as root: apt-get install $packages"
    fi
    say "    installing: $packages"
    # shellcheck disable=SC2086 # a list of package names
    POSTERN_AS_ROOT=$as_root sh "$root/scripts/setup/apt.sh" install $packages ||
        give_up "the installation failed"
    check || die "these are still missing after the installation"
}

case ${1:-} in
check) check ;;
install) install ;;
*) die "usage: deps.sh check|install" ;;
esac
