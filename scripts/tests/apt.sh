#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests apt.sh: where it stops, and what it leaves in the cache.  apt is faked.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

make_checkout
XDG_CACHE_HOME=$work/cache
POSTERN_ETC_APT=$work/etc
PATH=$work/bin:$PATH
export XDG_CACHE_HOME POSTERN_ETC_APT PATH
sources=$XDG_CACHE_HOME/postern/sources
# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
apt() {
    (sh "$top/scripts/setup/apt.sh" "$@" 2>&1) || echo "status $?"
}

# stub COMMAND: whose script is on standard input
stub() {
    mkdir -p "$work/bin"
    { echo '#!/bin/sh' && cat; } >"$work/bin/$1"
    chmod +x "$work/bin/$1"
}

stub apt-get <<END
echo "\$*" >>"$work/called"
case \$* in
*' source '*) echo content >qemu_10.0.1.orig.tar.xz ;;
*' download tool') echo content >tool_1%3a2_odd.deb ;;
esac
END
stub apt-cache <<'END'
printf 'Package: qemu\nVersion: 1:10.0.1-1\n'
END

mkdir "$POSTERN_ETC_APT"
said=$(apt source qemu 10.0)
matches "source: stops without a mirror" "$said" "no entry for Debian's suite"
matches "source: no mirror is an error" "$said" '^status 1$'
said=$(apt install some-package)
matches "install: stops without a mirror" "$said" "no entry for Debian's suite"
matches "install: no mirror is an error" "$said" '^status 1$'
said=$(apt binary tool odd)
matches "binary: stops without a mirror" "$said" "no entry for Debian's suite"
matches "binary: no mirror is an error" "$said" '^status 1$'
said=$(apt stanzas other)
matches "stanzas: stops without a mirror" "$said" "no entry for Debian's suite"
matches "stanzas: no mirror is an error" "$said" '^status 1$'
is "without a mirror apt is not called" "$(cat "$work/called" 2>/dev/null || :)" ""

# Sources that are named by hand need neither.
if [ -z "$suite" ] || ! ls /usr/share/keyrings/debian-archive-keyring.* >/dev/null 2>&1; then
    skip "downloads" "only on Debian, with its archive's keys"
    done_testing
    exit
fi

echo "deb http://one.example/debian $suite main" >"$POSTERN_ETC_APT/sources.list"
stub sha256sum <<'END'
exit 1
END
said=$(apt source qemu 10.0)
matches "a download without checksums is an error" "$said" '^status 1$'
is "a download without checksums does not count as cached" "$(find "$sources" -maxdepth 1 -type f)" ""
rm "$work/bin/sha256sum"
apt source qemu 10.0 >/dev/null
is "a download with checksums counts as cached" "$(cd "$sources" && sha256sum -c qemu_10.0.1.sha256)" \
    "qemu_10.0.1.orig.tar.xz: OK"

apt binary tool odd >/dev/null
is "a package of another architecture is cached with checksums" \
    "$(cd "$XDG_CACHE_HOME/postern/binaries" && sha256sum -c tool_odd.sha256)" \
    "tool_1%3a2_odd.deb: OK"
conf=$(sed -n 's/^-c \([^ ]*\).* download tool$/\1/p' "$work/called")
is "apt is given that architecture as its only one" \
    "$(apt-config -c "$conf" dump | grep '^APT::Architecture' | sort -u)" \
    'APT::Architecture "odd";
APT::Architectures "";
APT::Architectures:: "odd";'

echo "deb http://one.example/debian-security $suite-security main" \
    >>"$POSTERN_ETC_APT/sources.list"
is "stanzas: another suite, at this machine's mirrors" \
    "$(apt stanzas other | sed -n 's/^URIs: //p; s/^Suites: //p' | paste -s -d ' ')" \
    "http://one.example/debian other http://one.example/debian-security other-security"
done_testing
