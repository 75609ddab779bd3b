#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# apt.sh install PACKAGE...     installs packages
# apt.sh source NAME SERIES     downloads the source package NAME, a version of
#                               SERIES, to the cache
# apt.sh binary PACKAGE ARCH    downloads the package of Debian's architecture
#                               ARCH to the cache; dpkg does not know of it
# apt.sh closure ARCH NAME PACKAGE...
#                               likewise the packages, with all that they depend
#                               on, to the folder NAME of the cache
# apt.sh stanzas SUITE          prints sources of Debian's SUITE, with its updates,
#                               at this machine's mirrors
#
# All use an apt configuration of our own: its source lists, package lists and
# caches are in the project's cache folder.  /etc/apt is only read, for the address
# of this machine's mirror; nothing else in it has an effect.  The suites are
# Debian's, signed by Debian's keys, and apt refuses others.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"

apt_etc=${POSTERN_ETC_APT:-/etc/apt}
source_suites='trixie trixie-updates'
sources=$cache/sources
binaries=$cache/binaries

keyring() {
    for _file in /usr/share/keyrings/debian-archive-keyring.gpg \
        /usr/share/keyrings/debian-archive-keyring.pgp; do
        [ -e "$_file" ] && echo "$_file" && return 0
    done
    die "no Debian archive keyring: install the package debian-archive-keyring"
}

codename() {
    # shellcheck source=/dev/null
    (. /etc/os-release && echo "${VERSION_CODENAME:-}")
}

# machine_entries: "URI SUITE" of this machine's Debian sources.  Sources of others
# may have suites of the same name, but have keys of their own.
machine_entries() {
    set --
    for _file in "$apt_etc/sources.list" "$apt_etc"/sources.list.d/*.list \
        "$apt_etc"/sources.list.d/*.sources; do
        [ -r "$_file" ] && set -- "$@" "$_file"
    done
    [ $# -gt 0 ] || return 0
    # An entry that names Debian's key comes before one that names none.
    awk -f "$root/scripts/setup/apt-entries.awk" "$@" | awk -v name="$(codename)" '
        name == "" || $1 ~ /^cdrom:/ { next }
        $2 != name && $2 != name "-updates" && $2 != name "-security" { next }
        $3 ~ /\/debian-archive-[^\/]*$/ { print 1, $1, $2; next }
        $3 == "-" { print $1 ~ /\/debian(-security)?\/?$/ ? 2 : 3, $1, $2 }' |
        sort -s -k 1,1 | awk '!seen[$2, $3]++ { print $2, $3 }'
}

# mirrors: the addresses of this machine's mirrors of Debian's suites
mirrors() {
    _mirrors=$(machine_entries | awk -v name="$(codename)" '$2 == name { print $1 }')
    [ -n "$_mirrors" ] || die "no entry for Debian's suite '$(codename)' in $apt_etc: \
name the sources by --qemu-source and --linux-source, and install packages by hand"
    printf '%s\n' "$_mirrors"
}

# stanza TYPES URI SUITES
stanza() {
    _keyring=$(keyring)
    printf 'Types: %s\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n\n' \
        "$1" "$2" "$3" "$_keyring"
}

# machine_stanzas [SUITE]: stanzas for the packages of this machine's suites, or of
# SUITE and its updates at the same mirrors
machine_stanzas() {
    _this=$(codename)
    machine_entries | while read -r uri suite; do
        stanza deb "$uri" "${1:-$_this}${suite#"$_this"}"
    done
}

# configure_apt NAME: writes apt's configuration for one purpose, $conf; the caller
# writes its sources to $dir/postern.sources
configure_apt() {
    dir=$cache/apt/$1
    conf=$dir/apt.conf
    mkdir -p "$dir/lists/partial" "$dir/empty"
    cat >"$conf" <<END
Dir::Etc::SourceList "$dir/postern.sources";
Dir::Etc::SourceParts "$dir/empty";
Dir::State::Lists "$dir/lists";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::Languages "none";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Retries "3";
APT::Get::AllowUnauthenticated "false";
APT::Update::Error-Mode "any";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Acquire::IndexTargets::deb-src::Contents-dsc::DefaultEnabled "false";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
END
    # Else root's apt would fetch as a user that cannot write here.
    if [ "$(id -u)" = 0 ]; then
        echo 'APT::Sandbox::User "root";' >>"$conf"
    fi
}

lists() {
    logged apt-lists apt-get -c "$conf" update
}

# versions_of NAME: the versions of a source package, oldest first, without those
# rebuilt for an older suite
versions_of() {
    apt-cache -c "$conf" --only-source showsrc "$1" 2>/dev/null |
        awk -v name="$1" '$1 == "Package:" { package = $2 }
            $1 == "Version:" && package == name { print $2 }' |
        grep -v '~bpo' | sort -uV
}

# upstream_version VERSION: 10.0.13 from 1:10.0.13+ds-0+deb13u1
upstream_version() {
    echo "$1" | sed -e 's/^[0-9]*://' -e 's/-[^-]*$//' -e 's/[+~].*//'
}

# growth DIR LABEL: how much of a download has arrived
growth() {
    progress "$2: $(du -sm "$1" | cut -f 1) MiB so far"
}

# download NAME FOLDER SUMS ARGUMENT...: runs apt-get with ARGUMENTs, and puts what
# it downloads of package NAME into FOLDER of the cache, with checksums in SUMS.
# Do not test its status: set -e would have no effect here.
download() {
    package=$1 folder=$2 sums=$3
    shift 3
    partial=$folder/partial-$package
    rm -rf "$partial"
    mkdir -p "$partial"
    ticking growth "$partial" "$package" &
    ticker=$!
    result=0
    (cd "$partial" && logged "download-$package" apt-get -c "$conf" -q "$@") || result=$?
    kill "$ticker" 2>/dev/null
    wait "$ticker" 2>/dev/null || :
    progress_ends
    [ "$result" = 0 ] || die "$package could not be downloaded"
    # apt has checked all files; with SUMS they count as complete.
    (cd "$partial" && sha256sum "$package"_* >"$sums")
    mv "$partial"/* "$folder/"
    rmdir "$partial"
}

# index_of ARCH: configures apt for the packages of an architecture, and fetches
# their index
index_of() {
    configure_apt "binary-$1"
    # This machine's packages and architectures do not matter.
    cat >>"$conf" <<END
APT::Architecture "$1";
#clear APT::Architectures;
APT::Architectures:: "$1";
Dir::State::status "$dir/status";
END
    : >"$dir/status"
    # A failure in the pipe below would be lost.
    mirrors >/dev/null
    machine_stanzas >"$dir/postern.sources"
    say "    fetching the index for $1 (log: $logs/apt-lists.log)"
    lists || die "the archive's index for $1 could not be fetched"
}

case ${1:-} in
install)
    shift
    say "    fetching package lists (log: $logs/apt-lists.log)"
    configure_apt packages
    first=$(mirrors)
    first=${first%%"$newline"*}
    {
        machine_stanzas
        [ "$(codename)" = bookworm ] && stanza deb "$first" bookworm-backports
        :
    } >"$dir/postern.sources"
    lists || die "the package lists could not be fetched"
    if [ "$(codename)" = bookworm ]; then
        # Debian 12's meson is too old for QEMU.
        for package; do
            shift
            [ "$package" = meson ] && package=meson/bookworm-backports
            set -- "$@" "$package"
        done
    fi
    # shellcheck disable=SC2086 # "sudo" or nothing
    watched apt-install "packages" ${POSTERN_AS_ROOT:-} \
        env DEBIAN_FRONTEND=noninteractive apt-get -c "$conf" -y -q \
        -o DPkg::Lock::Timeout=300 --no-install-recommends install "$@" ||
        die "the packages could not be installed"
    ;;
source)
    name=$2 series=$3
    mkdir -p "$sources"
    listed=
    configure_apt sources
    # Not in the loop's head: nobody would see it fail there.
    found=$(mirrors)
    for mirror in $found; do
        stanza deb-src "$mirror" "$source_suites" >"$dir/postern.sources"
        say "    fetching the archive's index (log: $logs/apt-lists.log)"
        lists && listed=1 && break
    done
    [ -n "$listed" ] || die "the archive's index could not be fetched"
    versions=$(versions_of "$name")
    # The version tested, where the archive still has it; else the newest.
    version=
    for candidate in $versions; do
        upstream=$(upstream_version "$candidate")
        in_series "$upstream" "$series" || continue
        version=$candidate
        [ "$upstream" = "$(recorded "$name" tested)" ] && break
    done
    [ -n "$version" ] || die "the archive has no $name $series.*, only \
$(echo "$versions" | tr '\n' ' '): name an unpacked tree by --$name-source=DIR"
    say "    downloading $name $version (log: $logs/download-$name.log)"
    download "$name" "$sources" "${name}_$(upstream_version "$version").sha256" \
        source --download-only "$name=$version"
    ;;
binary)
    name=$2 arch=$3
    index_of "$arch"
    say "    downloading $name for $arch (log: $logs/download-$name.log)"
    download "$name" "$binaries" "${name}_$arch.sha256" download "$name"
    ;;
closure)
    arch=$2 name=$3
    shift 3
    index_of "$arch"
    say "    downloading $name for $arch (log: $logs/download-$name.log)"
    rm -rf "${binaries:?}/$name"
    mkdir -p "$binaries/$name/partial"
    logged "download-$name" apt-get -c "$conf" -y -q --no-install-recommends \
        -o Dir::Cache::archives="$binaries/$name" --download-only install "$@" ||
        die "$name could not be downloaded"
    rmdir "$binaries/$name/partial"
    rm -f "$binaries/$name/lock"
    (cd "$binaries/$name" && sha256sum ./*.deb >sha256)
    ;;
stanzas)
    mirrors >/dev/null
    machine_stanzas "$2"
    ;;
*)
    die "usage: apt.sh install PACKAGE... | source NAME SERIES | binary PACKAGE ARCH | \
closure ARCH NAME PACKAGE... | stanzas SUITE"
    ;;
esac
