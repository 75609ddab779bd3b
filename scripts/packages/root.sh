#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# root.sh SUITE DIR: a root file system of Debian's SUITE, to install packages in
#
# It has this machine's mirrors as sources.  If DIR is there, it is left as it is.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"

suite=$1 dir=$2

[ ! -d "$dir" ] || exit 0
[ "$(id -u)" = 0 ] || die "needs root, for a root file system of Debian's $suite"
POSTERN_ALSO=packages "$root/scripts/setup/deps.sh" install

mkdir -p "$build" "$(dirname "$dir")"
"$root/scripts/setup/apt.sh" stanzas "$suite" >"$build/$suite.sources"
say "    Debian's $suite in $dir"
rm -rf "$dir.new"
watched "root-$suite" "$suite" mmdebstrap --variant=apt --mode=root \
    "$suite" "$dir.new" "$build/$suite.sources" ||
    die "no root file system of Debian's $suite"
mv "$dir.new" "$dir"
