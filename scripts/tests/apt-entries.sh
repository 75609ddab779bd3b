#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests what apt-entries.awk reads from apt's two kinds of source lists.

set -eu
# shellcheck source=scripts/tests/tap.sh
. "$(dirname "$0")/tap.sh"

entries() {
    awk -f "$scripts/setup/apt-entries.awk" "$@"
}

cat >"$work/a.list" <<'END'
# deb http://commented.example/debian bookworm main
deb http://one.example/debian bookworm main contrib # said twice
deb [arch=amd64 signed-by=/keys/other.gpg] http://two.example/x bookworm main
deb http://three.example/y bookworm stable
deb-src http://one.example/debian bookworm main
END
is "one-line entries with component main" "$(entries "$work/a.list")" \
    "http://one.example/debian bookworm -
http://two.example/x bookworm /keys/other.gpg"

cat >"$work/b.sources" <<'END'
Types: deb deb-src
# a comment in the middle
URIs: http://one.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb
URIs: http://inline.example/
Suites: bookworm
Components:
 main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
END
is "deb822 entries, one disabled, one with its key inside" "$(entries "$work/b.sources")" \
    "http://one.example/debian bookworm /usr/share/keyrings/debian-archive-keyring.gpg
http://one.example/debian bookworm-updates /usr/share/keyrings/debian-archive-keyring.gpg
http://inline.example/ bookworm (inline)"

is "entries of both kinds" \
    "$(entries "$work/a.list" "$work/b.sources" | wc -l | tr -d ' ')" 5

done_testing
