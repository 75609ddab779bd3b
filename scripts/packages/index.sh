#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# index.sh: puts QEMU's packages into build/packages/, if qemu.sh has made them, and
# makes the folder a source for apt; prints the packages that it has

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=scripts/common.sh
. "$root/scripts/common.sh"

out=$build/packages

rm -f "$out"/qemu-*.deb
[ ! -e "$build/packages-qemu/built" ] || cp "$build/packages-qemu"/*.deb "$out/"
cd "$out"
apt-ftparchive packages . >Packages
# It must not name itself.
rm -f Release
apt-ftparchive release . >../packages-release
mv ../packages-release Release
for file in *.deb; do
    say "$out/$file"
done
